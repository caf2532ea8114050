"""Networks spread over two processes play the same game as whole ones, and leave the same checkpoints."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import jobs
import pytest
import tiny_runs as runs
import torch
from parity import STEPS, pack_noise
from sharded import GAMES

from ganlab.experiment.checkpoints import newest

pytestmark = [pytest.mark.slow, pytest.mark.multi]

TOLERANCE = {"fp64": 1e-10, "bf16": 1e-4, "fp16": 1e-4}
"""Of a weight; the gradients are summed in another order, which Adam makes a step of where they are nothing but
rounding."""

GAN = "generator discriminator"
NAMES_OF = {
    "BiGAN": ("generator encoder discriminator ema encoder_ema", GAN),
    "autoencoder": ("encoder generator critic ema encoder_ema", "autoencoder critic encoder"),
    "autoencoder, simultaneous": ("encoder generator critic ema encoder_ema", "autoencoder critic encoder"),
    "alpha-GAN": ("encoder generator codes images ema", "encoder generator codes images"),
}
"""Of the toy games: the networks with their averages, and the players."""

LONGER = """
base: tiny.yaml
model: {regularizers: {r1: {every: 3}}}
train: {total_nimg: 1440}
machine: {precision: fp64}
"""


@pytest.fixture(scope="module")
def folder(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `launched/sharded.py` left, and the runs `whole` and `sharded, then one process` beside it."""
    folder = tmp_path_factory.mktemp("sharded")
    runs.write_config(folder, dataset)
    config = folder / "longer.yaml"
    config.write_text(LONGER)
    jobs.launch("sharded.py", pack_noise(folder), config, folder)
    runs.done(config, f"run={folder / 'whole'}")
    runs.done(config, f"run={folder / 'sharded, then one process'}", "machine.shard=true")
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    """What each rank found."""
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def checkpoint(folder: Path, run: str, nimg: int) -> dict[str, Any]:
    """The last checkpoint of a run that must have seen so many images."""
    last = newest(folder / run / "checkpoints")
    assert last is not None and last[1]["ganlab"]["clock"]["nimg"] == nimg
    return last[1]


def assert_same(ours: Any, theirs: Any, tolerance: float = 1e-10) -> None:
    """Nested values must hold the same tensors in the same places."""
    one, other = dict(jobs.tensors(ours)), dict(jobs.tensors(theirs))
    assert one.keys() == other.keys() and len(one) > 5
    for name, tensor in one.items():
        assert type(other[name]) is torch.Tensor and other[name].dtype == tensor.dtype
        torch.testing.assert_close(other[name], tensor, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("name", GAMES)
def test_a_sharded_game_ends_in_the_same_weights(found, name):
    whole, weights = found[0]["weights"][name], found[0]["weights"][f"{name}, sharded"]
    assert_same(whole, weights, TOLERANCE[GAMES[name][1]])


@pytest.mark.parametrize("name", GAMES)
def test_a_rank_holds_its_rows_of_each_tensor_and_no_more(found, name):
    for rank in (0, 1):
        shapes = found[rank]["shapes"][name]
        networks, players = NAMES_OF.get(name.removesuffix(", fp64"), ("generator discriminator ema", GAN))
        more = {f"{player}'s {what}" for player in players.split() for what in ("gradients", "moments")}
        assert shapes.keys() == {*networks.split(), *more} and all(shapes.values())
        for shape, here, stored in itertools.chain(*shapes.values()):
            rows = (shape[0] + 1) // 2 if shape else 1
            assert here == (((rows, shape[0] - rows)[rank], *shape[1:]) if shape else ())
            assert here.numel() <= stored <= rows * math.prod(shape[1:])  # rank 1 may have been sent a row of zeros
        if name.startswith("DCGAN"):
            for values in shapes.values():
                assert 0.4 < sum(stored for _, _, stored in values) / sum(shape.numel() for shape, _, _ in values) < 0.6


def test_whole_moments_are_cut_as_they_were(found):
    assert [rank["cut again"] for rank in found] == [True, True]


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_an_infinity_in_one_ranks_share_masks_the_step_on_all(found, player):
    bad, good = ([rank["struck"][player][at] for rank in found] for at in (0, 1))
    assert [rank.pop("finite here") for rank in bad] == [True, False]
    assert bad[0] == bad[1]
    assert bad[0]["masked"] == 1 and bad[0]["moved"] == [] and bad[0]["culprits"] == {bad[0]["victim"]: 1}
    for rank in good:
        assert rank["finite here"] and rank["masked"] == 0 and rank["culprits"] == {}
        assert good[0]["victim"] in rank["moved"]
    assert bad[0]["steps"] == {STEPS} and good[0]["steps"] == good[1]["steps"] == {STEPS + 1}


def test_the_ranks_still_compare_what_is_not_sharded(found):
    assert [rank["differing"] for rank in found] == [
        [[], ["discriminator.last.parametrizations.weight.0.u"]],
    ] * 2


def test_a_checkpoint_is_that_of_a_run_that_is_not_sharded(folder):
    sharded, plain = (checkpoint(folder, name, 720) for name in ("sharded", "plain"))
    for part in ("state_dict", "optimizer_states"):
        assert_same(plain[part], sharded[part])
    assert sharded["ganlab"] == plain["ganlab"] and sharded["ganlab"]["clock"]["nimg"] == 720
    groups = [[player["param_groups"] for player in saved["optimizer_states"]] for saved in (sharded, plain)]
    assert groups[0] == groups[1]


@pytest.mark.parametrize("name", ["sharded, then the other", "plain, then the other", "sharded, then one process"])
def test_a_run_goes_on_sharded_or_not(folder, name):
    whole, other = checkpoint(folder, "whole", 1440), checkpoint(folder, name, 1440)
    for part in ("state_dict", "optimizer_states"):
        assert_same(whole[part], other[part])


def test_samples_and_metrics_are_those_of_a_run_that_is_not_sharded(folder):
    grids = [sorted((folder / name / "samples").glob("*.png")) for name in ("sharded", "plain")]
    assert [path.name for path in grids[0]] == [path.name for path in grids[1]] and len(grids[0]) == 3
    for ours, theirs in zip(*grids, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    rows = [
        [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("sharded", "plain")
    ]
    assert len(rows[0]) > 3
    for ours, theirs in zip(*rows, strict=True):
        measured = {"time", "images_per_second", "memory_bytes", "share"} | {
            at for at in ours if at.startswith("seconds")
        }
        assert ours.keys() == theirs.keys()
        measured |= {name for name in ours if name.startswith("seconds/")}
        for key in ours.keys() - measured:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-8), key


def test_samples_need_no_knowledge_of_shards(folder):
    pictures = []
    for name in ("sharded", "plain"):
        out = folder / f"{name}.png"
        assert runs.ganlab("sample", folder / name, "-n", 4, "--out", out).exit_code == 0
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1]
