"""What several processes must agree on: decisions, checkpoints, weights, signals."""

import json
import socket
from typing import Any

import jobs
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.multi, pytest.mark.alone]

HERE = f"on {socket.gethostname()}"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each rank of `launched/agreement.py` found."""
    folder = tmp_path_factory.mktemp("agreement")
    for rank in (0, 1):
        (folder / f"node{rank}").mkdir()
    jobs.launch("agreement.py", folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def both(found: list[dict[str, Any]], *names: str) -> Any:
    """What both ranks must have found alike."""
    one, other = found
    for name in names:
        one, other = one[name], other[name]
    assert one == other
    return one


def test_rank_0_decides_for_all_and_its_mistakes_are_everybodys(found):
    assert both(found, "decided") == "of rank 0"
    assert both(found, "refused") == "refused: by rank 0"


def test_what_one_rank_meets_is_raised_on_all_and_names_it(found):
    assert both(found, "agreed") is None
    assert both(found, "one fails") == "refused: rank 1: no disk"


def test_all_ranks_go_on_from_one_checkpoint(found):
    assert both(found, "going on", "nothing") is None
    assert both(found, "going on", "the same") == 64
    assert both(found, "going on", "rank 1 has a newer one") == 64


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("rank 0 alone", "cannot resume from rank 0's checkpoint: checkpoints/nimg-000000000064.ckpt: "),
        ("another attempt", "sees checkpoints/nimg-000000000064.ckpt (sha256 "),
        ("other data", "sees another dataset (fingerprint 1, and rank 0's is 0)"),
        ("rank 1 alone", "sees checkpoints/nimg-000000000128.ckpt, and rank 0 sees no checkpoint"),
    ],
)
def test_a_rank_that_sees_something_else_is_named_on_all(found, case, words):
    assert both(found, "going on", case).startswith(f"refused: rank 1: {HERE}: {words}")


def test_ranks_may_differ_by_rounding_and_no_more(found):
    assert both(found, "differing") == {
        "the same": [],
        "rounding": [],
        "a step alone": ["a step alone"],
        "a count": ["a count"],
        "not a number": [],
        "infinite": [],
    }


@pytest.mark.parametrize(("case", "number"), [("fast steps", 15), ("slow steps", 10)])
def test_a_signal_to_one_rank_stops_all_at_one_step_within_two_seconds(found, case, number):
    one, other = (rank[case] for rank in found)
    assert one["signal"] == other["signal"] == number
    assert one["steps"] == other["steps"] and one["every"] == other["every"]
    assert max(one["seconds"], other["seconds"]) < 2.0
    assert (one["every"] > 100) == (case == "fast steps")  # few looks where steps are short
