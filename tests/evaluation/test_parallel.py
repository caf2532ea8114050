"""Any number of processes, killed or not, gives the same numbers."""

import json
from pathlib import Path

import jobs
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.multi]

TOLERANCE = 1e-9
"""Relative: the order in which ranks' float64 sums are added is all that differs."""


def test_one_two_and_four_processes_and_a_kill(finished: Path, toy: Path, tmp_path: Path) -> None:
    jobs.launch("evaluation.py", finished, toy, tmp_path)
    one, two, four = (json.loads((tmp_path / str(number) / "values.json").read_text()) for number in (1, 2, 4))
    assert len(one["values"]) == 18  # of 500 images, one subset, kid has no error
    assert_same(two["values"], one["values"])
    assert json.loads((tmp_path / "killed.json").read_text()) == [-9, -9]
    assert_same(four["values"], one["values"])  # which go on with what two had made
    assert four["made"] == 2  # by rank 0, whose two blocks of features were there: its two of pairs


def assert_same(values: dict, others: dict) -> None:
    assert values.keys() == others.keys()
    for name, value in values.items():
        assert value == pytest.approx(others[name], rel=TOLERANCE), name
