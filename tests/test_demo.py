"""`make demo`, a third of it: from nothing but a set-up environment to digits that a classifier recognises."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from repository import REPOSITORY


@pytest.mark.slow
def test_the_demo_makes_digits_and_a_second_one_is_done_at_once(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / ".venv").symlink_to(REPOSITORY / ".venv")
    first, second = (
        subprocess.run(
            ["make", "--old-file=pyproject.toml", "--old-file=constraints.txt", "demo", "KEYS=train.total_nimg=32_000"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    )
    recognised = re.search(r"(\d+)% of the samples \(held-out real digits: (\d+)%\)", first)
    rarest = re.search(r"rarest and commonest digit +\d \(([\d.]+)%\)", first)
    assert recognised is not None and rarest is not None, first
    assert int(recognised[1]) >= 50
    assert int(recognised[2]) >= 90  # the judge knows real digits
    assert float(rarest[1]) >= 3
    for kind in ("pictures", "metrics", "checkpoint"):
        place = re.search(rf"^  {kind} +(\S+)$", first, re.MULTILINE)
        assert place is not None and (tmp_path / place[1]).is_file(), first
    assert "already done: 32,000 images" in second
    assert recognised[0] in second
