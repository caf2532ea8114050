"""Shape and type annotations are checked while the tests run; what needs real images finds them here."""

import gc
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import checked
import pytest
import torch
from hypothesis import settings

checked.install()
gc.disable()  # until the tests begin: nothing that is imported is garbage

# A busy machine is no failure; CI draws the same examples each time, a person's run others.
settings.register_profile("ganlab", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("ganlab")

import browser  # noqa: E402 (as the next)
import device  # noqa: E402, F401 (a dry run's CUDA graphs, before ganlab names their types)
import jobs  # noqa: E402
import quick  # noqa: E402
import tiny_runs as runs  # noqa: E402 (it imports ganlab, so after the hook)
from repository import REPOSITORY  # noqa: E402

quick.install()
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) is signal.SIG_IGN:  # by nohup, or behind &: what the tests start would ignore it too
        signal.signal(number, lambda *_: None)
os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # Lightning sets it, and every optimizer's step looks for NVML

LONG = (
    "test_slurm",  # it mostly waits, beside the one that computes most
    "test_papers",
    "test_demo",
    "test_shipped",
    "test_compiled",
    "test_parity",
    "test_sharding",
    "test_faults",
    "test_launch",
    "test_cli",
)
"""Files of minutes, in the order of their start: the first, so that two workers end at about the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """Never search for garbage in what was imported and collected, which takes a second each time."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Let the interpreter clean up."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, and a folder of what their self-checks have counted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(quick.FOLDER, str(tmp_path_factory.mktemp("counted")))
        patch.setenv("GANLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks as small as the tests' gain nothing from more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images that may lie beside the repository."""
    folder = Path(os.environ.get("GANLAB_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real images: {folder / 'data'} is absent; name their folder in GANLAB_SHARED")
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 grey images of 16 px in three classes, packed in shards of 100."""
    return runs.pack_noise(tmp_path_factory.mktemp("dataset"), classes=3)


@pytest.fixture(scope="session")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that is done: 480 images; its config lies beside it."""
    folder = tmp_path_factory.mktemp("finished")
    runs.done(runs.write_config(folder, dataset), f"run={folder / 'run'}")
    return folder / "run"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of a size such as 420k."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: str) -> Path:
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True
        ).returncode:
            pytest.skip("a small file system can be mounted by root only")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="session")
def job(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a job that some seconds of training finish, in float64."""
    return jobs.write_config(tmp_path_factory.mktemp("job"), dataset)


@pytest.fixture(scope="session")
def undisturbed(job: Path) -> Path:
    """The run of that job on two processes that nothing has disturbed."""
    jobs.launch("trained.py", 2, job, f"run={job.parent / 'undisturbed'}")
    return job.parent / "undisturbed"


chromium = pytest.fixture(scope="module")(browser.launched)
"""A real browser, one for all tests of a file."""
