"""What docs/install.md says: completion in a shell, and the recipes of containers, which are read and not built."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import REPOSITORY

LAUNCH = REPOSITORY / "launch"
PAGE = (REPOSITORY / "docs" / "install.md").read_text()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tra", ["train"]),
        ("data pa", ["pack"]),
        ("train --see", ["--seeds"]),
        ("configs toy/ring", ["toy/ring.yaml", "toy/ring_packed.yaml", "toy/ring_unrolled.yaml"]),
    ],
)
def test_bash_completes_as_the_page_says(typed: str, offered: list[str], tmp_path: Path) -> None:
    (setup,) = re.findall(r"^eval .*bash_source.*$", PAGE, re.MULTILINE)
    (tmp_path / "ganlab").write_text(f"#!{sys.executable}\nfrom ganlab.cli import main\n\nmain()\n")
    (tmp_path / "ganlab").chmod(0o755)
    words = ["ganlab", *typed.split()]
    script = f"""
        {setup}
        COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
        _ganlab_completion ganlab
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == offered, done.stderr


def test_the_dockerfile_has_no_faults() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("no hadolint: `make setup` installs it")
    done = subprocess.run([hadolint, LAUNCH / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_containers_are_pinned_and_take_what_a_wheel_is_made_of() -> None:
    docker, apptainer = ((LAUNCH / name).read_text() for name in ("Dockerfile", "ganlab.def"))
    images = [re.search(rf"^{words} (\S+)$", text, re.M)[1] for words, text in (("FROM", docker), ("From:", apptainer))]
    assert images[0] == images[1] and re.fullmatch(r"python:3\.\d+-slim-\w+", images[0])
    assert re.findall(r"^USER (\d+)$", docker, re.M) == ["1000"]
    sections = dict(re.findall(r"^%(\w+)\n((?:(?!%).*\n)*)", apptainer, re.M))
    assert sections.keys() == {"files", "post", "environment", "runscript", "test"}
    install = '--constraint /source/constraints.txt "/source[demo]"'
    assert install in docker and install in sections["post"]
    taken = re.findall(r"^    (\S+) /source/$", sections["files"], re.M)
    allowed = re.findall(r"^!(\S+)$", (LAUNCH / "Dockerfile.dockerignore").read_text(), re.M)
    assert set(taken) == set(allowed)
    assert all((REPOSITORY / name).exists() for name in taken)
