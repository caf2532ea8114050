"""A run is a function of its config, however often it is killed and on however many processes it goes on."""

import json
import re
from pathlib import Path
from typing import Any

import jobs
import pytest
import tiny_runs as runs
import torch
from wandb_reader import offline_runs

from ganlab.experiment.checkpoints import newest

pytestmark = [pytest.mark.slow, pytest.mark.multi]

KILLS, SEED = 10, 3278
"""The seed spreads the kills evenly over the run."""
ROUNDS = 100
BATCH = 48
"""Of the tiny run."""
ELASTIC_ROUNDS = 60

LONGER = f"""
base: tiny.yaml
model:
  regularizers: {{r1: {{every: 3}}}}
  lr_schedule: {{_target_: ganlab.schedules.Linear, until_nimg: {2 * ROUNDS * BATCH}}}
train: {{total_nimg: {ROUNDS * BATCH}, tick_nimg: 100, checkpoint_every_nimg: 144, sample_every_nimg: 2400}}
"""

FOUR_ROUNDS = 150
ALPHA = f"""
base: tiny.yaml
model: {{_target_: games.AlphaGAN}}
train: {{total_nimg: {FOUR_ROUNDS * BATCH}, tick_nimg: 100, checkpoint_every_nimg: 480, sample_every_nimg: 2400}}
"""


def write_config(folder: Path, dataset: Path, more: str) -> Path:
    """The tiny run, made longer, with a lazy penalty and a falling learning rate."""
    runs.write_config(folder, dataset)
    path = folder / "longer.yaml"
    path.write_text(LONGER + more)
    return path


def end_of(run: Path, **steps: int) -> dict[str, Any]:
    """Return the last checkpoint of a run that must be done, after so many steps of each player."""
    found = newest(run / "checkpoints")
    assert found is not None
    path, checkpoint = found
    nimg = next(iter(steps.values())) * BATCH
    assert path.name == f"nimg-{nimg:012d}.ckpt"
    clock = checkpoint["ganlab"]["clock"]
    assert (clock["nimg"], clock["moves"]) == (nimg, steps)
    return checkpoint


def assert_same(one: dict[str, Any], other: dict[str, Any], tolerance: float = 0.0) -> None:
    """Two checkpoints must hold the same clock, weights and optimizer states."""
    assert one["ganlab"] == other["ganlab"]
    for part in ("state_dict", "optimizer_states"):
        ours, theirs = dict(jobs.tensors(one[part])), dict(jobs.tensors(other[part]))
        assert len(ours) > 10 and ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            message = f"{part}{name}"
            assert tensor.dtype == theirs[name].dtype
            torch.testing.assert_close(
                theirs[name], tensor, rtol=0, atol=tolerance, msg=lambda m, n=message: f"{n}: {m}"
            )


# --- ten kills


@pytest.fixture(scope="module")
def killed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A folder with the runs `undisturbed` and `killed`, and the kills."""
    folder = tmp_path_factory.mktemp("killed")
    config = write_config(folder, dataset, "logging: {wandb: offline}")
    said = jobs.launch("killed.py", config, folder, KILLS, SEED)
    return folder, json.loads(said.splitlines()[-1])


def test_the_kills_land_all_over_the_run_and_while_checkpoints_are_written(killed):
    _, kills = killed
    assert len(kills) == KILLS
    assert all(0 < kill["due"] <= kill["nimg"] < ROUNDS * BATCH for kill in kills)
    assert len({kill["nimg"] for kill in kills}) >= 8  # at different places
    assert kills[-1]["nimg"] - kills[0]["nimg"] > ROUNDS * BATCH / 2
    assert any(name.startswith("nimg-") for kill in kills for name in kill["torn"])


def test_each_process_goes_on_from_the_checkpoint_before_the_kill(killed):
    folder, kills = killed
    log = (folder / "killed.log").read_text()
    starts = [int(line.split("nimg-")[1].split(".")[0]) for line in log.splitlines() if "resuming from" in line]
    assert len(starts) >= KILLS - 3 and starts == sorted(starts)  # one killed before its first checkpoint starts over
    for start, kill in zip(starts[::-1], kills[::-1], strict=False):
        # The metrics lag behind by a tick (they tell every second or third step), and checkpoints by what is written.
        assert -3 * BATCH <= kill["nimg"] - start <= 12 * BATCH, (start, kill)
    assert log.count(": done: ") == 1


def test_a_run_killed_ten_times_ends_bit_for_bit_in_the_weights_of_an_undisturbed_one(killed):
    folder, _ = killed
    one, other = (end_of(folder / name, discriminator=ROUNDS, generator=ROUNDS) for name in ("undisturbed", "killed"))
    assert_same(one, other)
    lr = [[player["param_groups"][0]["lr"] for player in end["optimizer_states"]] for end in (one, other)]
    assert lr[0] == lr[1] == pytest.approx([2e-4 * (1 - (ROUNDS - 1) / (2 * ROUNDS)), 1e-4])  # half-way down


def test_the_metrics_of_a_killed_run_have_each_line_once(killed):
    folder, _ = killed
    one, other = (
        [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("undisturbed", "killed")
    )
    expected = [nimg for nimg in range(BATCH, ROUNDS * BATCH + 1, BATCH) if nimg // 100 > (nimg - BATCH) // 100]
    assert [row["nimg"] for row in one] == [row["nimg"] for row in other] == expected
    seconds = [row["seconds"] for row in other]
    assert seconds == sorted(seconds)
    for ours, theirs in zip(one, other, strict=True):
        assert ours["generator/lr"] == theirs["generator/lr"]


def test_the_samples_of_a_killed_run_are_those_of_an_undisturbed_one(killed):
    folder, _ = killed
    names = [f"nimg-{nimg:012d}.png" for nimg in (2400, 4800)]
    for name in ("undisturbed", "killed"):
        assert sorted(path.name for path in (folder / name / "samples").glob("*.png")) == names
    for name in names:
        assert (folder / "undisturbed" / "samples" / name).read_bytes() == (
            folder / "killed" / "samples" / name
        ).read_bytes()


def test_a_killed_run_leaves_no_litter(killed):
    folder, _ = killed
    assert sorted(path.name for path in (folder / "killed").rglob("*.tmp")) == []
    assert len(list((folder / "killed" / "checkpoints").iterdir())) == 2 * 2  # the last two, and their sums


def test_every_part_of_a_killed_run_has_the_same_wandb_id(killed):
    folder, _ = killed
    name = (folder / "killed" / "wandb" / "run-id.txt").read_text()
    parts = sorted((folder / "killed" / "wandb").glob("offline-run-*"))
    assert len(parts) == KILLS + 1
    for part in parts:
        # W&B numbers the parts that began within one second.
        assert re.search(rf"-{name}(-\d+)?$", part.name) and (part / f"run-{name}.wandb").is_file()
    *_, last = offline_runs(folder / "killed")  # of those that were killed W&B itself may have written nothing yet
    assert last.id == name and last.ended and list(last.values("generator/loss"))[-1] == ROUNDS * BATCH
    (alone,) = offline_runs(folder / "undisturbed")
    assert alone.id != name


# --- a game of four players


def test_a_game_of_four_players_of_ones_own_is_killed_and_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    runs.write_config(tmp_path, runs.pack_noise(tmp_path, classes=0, size=8))
    (tmp_path / "alpha.yaml").write_text(ALPHA)
    said = jobs.launch("killed.py", tmp_path / "alpha.yaml", tmp_path, 3, SEED, "games")
    assert [0 < kill["nimg"] < FOUR_ROUNDS * BATCH for kill in json.loads(said.splitlines()[-1])] == [True] * 3
    assert (tmp_path / "killed.log").read_text().count("resuming from") >= 2
    steps = {"encoder": FOUR_ROUNDS, "generator": FOUR_ROUNDS, "codes": FOUR_ROUNDS // 3, "images": FOUR_ROUNDS // 2}
    assert_same(*(end_of(tmp_path / name, **steps) for name in ("undisturbed", "killed")))


# --- elastic


@pytest.fixture(scope="module")
def elastic(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `1` in one go, and `2-1` and `2-4`: half on two processes, the rest on one and on four."""
    folder = tmp_path_factory.mktemp("elastic")
    config = write_config(folder, dataset, "machine: {precision: fp64}")
    half, whole = (f"train.total_nimg={rounds * BATCH}" for rounds in (ELASTIC_ROUNDS // 2, ELASTIC_ROUNDS))
    jobs.launch("elastic.py", folder, config, half, whole)
    return folder


@pytest.mark.parametrize("processes", [1, 4])
def test_a_run_of_two_processes_goes_on_on_any_number(elastic: Path, processes: int) -> None:
    middle = newest(elastic / "2" / "checkpoints")
    assert middle is not None and middle[1]["ganlab"]["clock"]["nimg"] == ELASTIC_ROUNDS // 2 * BATCH
    steps = {"discriminator": ELASTIC_ROUNDS, "generator": ELASTIC_ROUNDS}
    assert_same(*(end_of(elastic / name, **steps) for name in ("1", f"2-{processes}")), tolerance=1e-10)
