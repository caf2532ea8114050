"""Any number of processes, killed or not, gives the same numbers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.multi]

TOLERANCE = 1e-9
"""Relative: the order in which ranks' float64 sums are added is all that differs."""


def launch(processes: int, run: Path, toy: Path, cache: Path, blocks: int = 1_000_000) -> tuple[int, dict]:
    """Evaluate a copy of the run; return the exit code, and the values where there are any."""
    cache.mkdir(exist_ok=True)
    copy = shutil.copytree(run, cache / f"run-{processes}")
    out = cache / "values.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"),
            *(REPOSITORY / "tests" / "launched" / "evaluation.py", copy, toy, out, str(blocks)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GANLAB_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    assert out.exists() or blocks < 1_000_000, done.stderr
    return done.returncode, json.loads(out.read_text()) if out.exists() else {}


def test_one_two_and_four_processes_and_a_kill(finished: Path, toy: Path, tmp_path: Path) -> None:
    code, one = launch(1, finished, toy, tmp_path / "1")
    assert code == 0 and len(one["values"]) == 19
    _, two = launch(2, finished, toy, tmp_path / "2")
    assert_same(two["values"], one["values"])
    code, _ = launch(2, finished, toy, tmp_path / "killed", blocks=3)
    assert code != 0
    _, four = launch(4, finished, toy, tmp_path / "killed")  # goes on with what two had made
    assert_same(four["values"], one["values"])
    assert four["made"] == 2  # by rank 0, whose two blocks of features were there: its two of pairs


def assert_same(values: dict, others: dict) -> None:
    assert values.keys() == others.keys()
    for name, value in values.items():
        assert value == pytest.approx(others[name], rel=TOLERANCE), name
