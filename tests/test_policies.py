"""What follows steps whose gradients were not finite: stop (see test_run.py), skip, or roll back."""

import pytest
import tiny_runs as runs

from ganlab.experiment.checkpoints import facts_of, found, newest
from ganlab.experiment.records import read_lines


@pytest.fixture
def config(tmp_path, dataset):
    return runs.write_config(tmp_path, dataset)


@pytest.mark.slow
def test_steps_may_be_skipped(tmp_path, config):
    """A penalty of 1e38 in every second discriminator step makes that step's gradients infinite."""
    config.write_text(config.read_text().replace("weight: 0.5", "weight: 1e38, every: 2"))
    run = tmp_path / "run"
    result = runs.ganlab("train", config, f"run={run}", "train.on_not_finite=skip")
    assert result.exit_code == 0
    assert (
        result.stderr.count("of the discriminator's steps in this tick had a gradient") == 4
    )  # the fifth tick has one step, which was not masked
    assert "in layers.0.weight, " in result.stderr and "terms not finite: discriminator/r1" in result.stderr
    _, checkpoint = newest(run / "checkpoints")
    assert checkpoint["ganlab"]["clock"]["moves"] == {"discriminator": 10, "generator": 10}
    assert all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values())
    made = [{int(moments["step"]) for moments in player["state"].values()} for player in checkpoint["optimizer_states"]]
    assert made == [{5}, {10}]


@pytest.mark.slow
def test_a_run_rolls_back_so_often_and_then_stops(tmp_path, config):
    run = tmp_path / "run"
    policy = [f"run={run}", "train.on_not_finite=rollback", "train.rollbacks=2"]
    runs.done(config, *policy, "train.total_nimg=240")
    worse = ["model.regularizers.r1.weight=1e38", "--allow-change", "model.regularizers.r1.weight"]
    result = runs.ganlab("train", config, *policy, *worse)
    assert result.exit_code == 1
    assert result.stdout.count("rolling back to nimg-000000000240.ckpt") == 2
    assert found(run / "checkpoints")[-1].name == "nimg-000000000240.ckpt"
    told = [(event["event"], event["nimg"], event["attempt"]) for event in read_lines(run / "events.jsonl")]
    assert told[-6:] == [
        ("resume", 240, 0),
        ("not-finite", 288, 0),
        ("rollback", 240, 1),
        ("not-finite", 288, 1),
        ("rollback", 240, 2),
        ("not-finite", 288, 2),
    ]
    struck, back = read_lines(run / "events.jsonl")[-3:-1]
    assert struck["player"] == "discriminator" and struck["masked"] == 1 and "layers.0.weight" in struck["parameters"]
    assert struck["terms"] == ["discriminator/r1"] and back["to"] == "nimg-000000000240.ckpt"


@pytest.mark.slow
def test_after_a_rollback_the_noise_is_other_and_the_run_ends(tmp_path, config, monkeypatch):
    """One real image of infinity, met in the first attempt alone."""
    import torch

    from ganlab.engine.game import Game

    step, first = Game.step, []

    def poisoned(self, name, reals):
        if self.runtime.attempt == 0 and self.clock.nimg == 336 and name == "discriminator":
            reals = {**reals, "real": torch.full_like(reals["real"], torch.inf)}
        if self.clock.nimg == 288 and name == "generator":
            first.append(self.draw(name, 4, self.noise(0), reals["labels"])["latents"])
        step(self, name, reals)

    monkeypatch.setattr(Game, "step", poisoned)
    run = tmp_path / "run"
    result = runs.ganlab("train", config, f"run={run}", "train.on_not_finite=rollback")
    assert result.exit_code == 0, result.output
    assert "rolling back to nimg-000000000288.ckpt" in result.stdout
    _, checkpoint = newest(run / "checkpoints")
    assert checkpoint["ganlab"]["attempt"] == 1 and checkpoint["ganlab"]["clock"]["nimg"] == 480
    assert len({tuple(latents.flatten().tolist()) for latents in first}) == len(first)


def test_an_overflow_under_float16_leaves_no_trace_in_what_follows(tmp_path, config, monkeypatch):
    """One real image of infinity; the checkpoints fall between the ticks."""
    import torch

    from ganlab.models import GANModule

    step = GANModule.training_step

    def poisoned(self, batch, number):
        images, labels = batch
        step(self, (torch.full_like(images, torch.inf, dtype=torch.float32), labels) if number == 1 else batch, number)

    monkeypatch.setattr(GANModule, "training_step", poisoned)
    run = tmp_path / "run"
    cadences = ["train.tick_nimg=240", "train.checkpoint_every_nimg=48", "train.keep_checkpoints=10"]
    runs.done(config, f"run={run}", "machine.precision=fp16", "train.keep_best=generator/loss", *cadences)
    rows = read_lines(run / "metrics.jsonl")
    assert [row["nimg"] for row in rows] == [96, 240, 480]  # a tick came early, once
    assert rows[0]["discriminator/loss"] is None and rows[1]["discriminator/loss"] > 0
    told = {int(path.stem[5:]): facts_of(path)["metrics"].get("nimg") for path in found(run / "checkpoints")}
    assert told == {nimg: {48: None, 96: 96, 144: 96, 192: 96}.get(nimg, 240 if nimg < 480 else 480) for nimg in told}
    assert len(told) == 10
