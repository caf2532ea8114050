"""The wheel: what it holds, and that it works in an empty environment, where there is no clone."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from repository import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the repository, since a build writes beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder / "source")
    for name in ("ganlab", "configs", "launch"):
        forgotten = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / "source" / name, symlinks=True, ignore=forgotten)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "-w", folder, folder / "source"], check=True, timeout=300)
    (built,) = folder.glob("ganlab-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel alone, and otherwise sees what this one's Python has."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, wheel], check=True, timeout=300)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def run(installed: Path, folder: Path, *words: str) -> str:
    process = start(installed, folder, *words)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def start(installed: Path, folder: Path, *words: str) -> "subprocess.Popen[str]":
    env = {"PATH": f"{installed}:{os.environ['PATH']}", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        ["ganlab", *words], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_the_wheel_holds_what_the_repository_does(wheel: Path) -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "ganlab", "configs", "launch"]
    found = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a clone: git tells what belongs to the repository")
    files = {name for name in found.stdout.split() if not (REPOSITORY / name).is_dir()}  # the two links are folders
    clone_only = {f"launch/{name}" for name in ("README.md", "Dockerfile", "Dockerfile.dockerignore", "ganlab.def")}
    expected = {name if name.startswith("ganlab/") else f"ganlab/{name}" for name in files - clone_only}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected
        assert archive.getinfo("ganlab/launch/torchrun.sh").external_attr >> 16 & 0o111


@pytest.mark.slow
def test_it_runs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    assert "demo" in run(installed, tmp_path, "--help")
    names = [line.split()[0] for line in run(installed, tmp_path, "configs").splitlines()]
    assert {"base.yaml", "digits/dcgan.yaml", "machine/gpu.yaml", "launch/slurm.sbatch"} <= set(names)
    assert run(installed, tmp_path, "configs", "digits/dcgan.yaml") == "dcgan.yaml\n"
    shown = run(installed, tmp_path, "show", "dcgan.yaml", "--machine", "ganlab:machine/laptop.yaml")
    assert "keep_checkpoints: 2" in shown and "decode_threads: 1" in shown  # of base.yaml and laptop.yaml


@pytest.mark.slow
def test_the_demo_begins_without_a_clone(installed: Path, tmp_path: Path) -> None:
    demo = start(installed, tmp_path, "demo")
    assert demo.stdout is not None
    said = list[str]()
    for line in demo.stdout:
        said.append(line)
        if "limit" in line:  # the first step comes next
            break
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=120)
    assert demo.returncode == 130, "".join(said) + rest
    assert str(tmp_path) in said[0] and "checkpoint saved; the same command resumes it" in rest
    assert (tmp_path / "data/digits/index.json").is_file() and any((tmp_path / "runs").rglob("*.ckpt"))
