"""Evaluations while a run trains: in its results, its metrics, its choice of a checkpoint, and in W&B."""

import json
import signal
from pathlib import Path

import jobs
import pytest
import tiny_runs as runs
import torch
import yaml

from ganlab.commands.train import train
from ganlab.evaluation.measures import higher_is_better
from ganlab.experiment.checkpoints import facts_of, found, path_at
from ganlab.experiment.config import load
from ganlab.models import GANModule

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def config(tmp_path: Path, dataset: Path, toy: Path) -> Path:
    values = yaml.safe_load(runs.write_config(tmp_path, dataset).read_text())
    values["evaluation"] = {
        "every_nimg": 144,
        "metrics": ["fid", "msssim"],
        "samples": 100,
        "extractor": {"_target_": "ganlab.metrics.features.TorchScriptFeatures", "path": str(toy)},
    }
    values["train"] |= {"keep_best": "fid", "keep_checkpoints": 1}
    (tmp_path / "judged.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "judged.yaml"


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_results_metrics_and_the_best_checkpoint(config: Path, toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    runs.done(config, f"run={run}")
    fids = {row["nimg"]: row for row in lines(run / "results.jsonl") if row["metric"] == "fid"}
    assert list(fids) == [144, 288, 432, 480]  # every 144 images, and at the end
    told = {row["nimg"]: row for row in lines(run / "metrics.jsonl") if "fid" in row}
    assert {nimg: row["fid"] for nimg, row in told.items()} == {nimg: row["value"] for nimg, row in fids.items()}
    assert all(row[fids[nimg]["name"]] == row["fid"] for nimg, row in told.items())
    best = min(fids.values(), key=lambda row: row["value"])["nimg"]
    assert {path.stem for path in found(run / "checkpoints")} == {f"nimg-{best:012d}", "nimg-000000000480"}
    kept = run / "checkpoints" / f"nimg-{best:012d}.ckpt"
    assert facts_of(kept)["metrics"]["fid"] == fids[best]["value"]
    said = runs.ganlab("evaluate", run, "-n", 100, "--trust", "ganlab.metrics")  # the run names extractor and metrics
    assert said.exit_code == 0, said.output
    again = [row for row in lines(run / "results.jsonl") if row["metric"] == "fid"][-1]
    assert again["value"] == pytest.approx(fids[480]["value"], rel=1e-9)
    assert again["protocol"] == fids[480]["protocol"] and again["name"] == fids[480]["name"]
    assert f"best {fids[best]['value']:.4g} at {best}" in said.stdout


@pytest.mark.slow
def test_evaluating_changes_nothing_of_the_run(config: Path, tmp_path: Path) -> None:
    runs.done(config, f"run={tmp_path / 'judged'}")
    runs.done(config, f"run={tmp_path / 'alone'}", "evaluation.every_nimg=null", "train.keep_best=null")
    losses = [
        [row["generator/loss"] for row in lines(tmp_path / name / "metrics.jsonl") if "generator/loss" in row]
        for name in ("judged", "alone")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.extractor=null", "fid: needs an extractor"),
        ("evaluation.extractor.path=absent.pt", "absent.pt: no such file"),
        ("evaluation.data=absent", "absent: no such file or folder"),
        ("evaluation.metrics=[fdi]", "metrics: fdi; choose from fid"),
        ("evaluation.every_nimg=100", "evaluation.every_nimg: 100 is no multiple of train.checkpoint_every_nimg, 144"),
        ("train.keep_best=msssim", "train.keep_best: msssim: no evaluation measures that; choose from fid, a player's"),
        ("train.keep_best=precision", "train.keep_best: precision: no evaluation measures that; choose from fid, a"),
        ("evaluation.samples=0", "evaluation.samples: 0: write at least 1"),
        ("evaluation.extractor={_target_: torch.nn.ReLU}", "evaluation.extractor._target_: 'torch.nn.ReLU' is not for"),
    ],
)
def test_mistakes_are_found_before_the_first_step(config: Path, tmp_path: Path, override: str, message: str) -> None:
    assert message in runs.refused("train", config, f"run={tmp_path / 'run'}", override)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def during_evaluation_at(nimg: int, monkeypatch: pytest.MonkeyPatch, act) -> None:
    """Let `act(images)` come between what the generator makes at a moment of the run and what is done with it."""
    synthesize = GANModule.synthesize

    def changed(self, *arguments, **options):
        images, labels = synthesize(self, *arguments, **options)
        if self.clock.nimg == nimg and arguments[-1] == "evaluation":
            images = act(images)
        return images, labels

    monkeypatch.setattr(GANModule, "synthesize", changed)


@pytest.mark.slow
def test_an_evaluation_that_fails_is_a_row_with_the_reason_and_the_run_goes_on(config, tmp_path, monkeypatch):
    run = tmp_path / "run"
    during_evaluation_at(288, monkeypatch, torch.zeros_like)
    runs.done(config, f"run={run}", "evaluation.metrics=[swd,msssim]", "train.keep_best=swd")
    rows = {(row["nimg"], row["metric"]): row for row in lines(run / "results.jsonl")}
    failed = {key: row["error"] for key, row in rows.items() if row["value"] is None}
    assert failed.keys() == {(288, "swd")} and failed[288, "swd"].startswith("swd: nan: constant images")
    assert rows[288, "msssim"]["value"] == pytest.approx(1.0)  # what can be measured is
    assert all(rows[nimg, "swd"]["value"] > 0 for nimg in (144, 432, 480))
    events = [event for event in lines(run / "events.jsonl") if event["event"] == "evaluation failed"]
    assert [(event["nimg"], event["metric"]) for event in events] == [(288, "swd")]
    assert runs.ganlab("compare", run, run).exit_code == 0  # who reads the results is not troubled


def test_images_that_are_no_numbers_fail_every_metric_and_the_checkpoint_is_there(config, tmp_path, monkeypatch):
    run = tmp_path / "run"
    during_evaluation_at(480, monkeypatch, lambda images: images * torch.nan)
    runs.done(config, f"run={run}", "train.keep_checkpoints=9")
    failed = [row for row in lines(run / "results.jsonl") if row["value"] is None]
    assert [(row["nimg"], row["metric"]) for row in failed] == [(480, "fid"), (480, "msssim")]
    assert "hold infinities or NaN" in failed[0]["error"]
    assert found(run / "checkpoints")[-1].name == "nimg-000000000480.ckpt"


class PowerCutError(BaseException):
    """Ends all at once, as a kill does."""


@pytest.mark.slow
def test_an_evaluation_cut_short_is_made_up_for_and_the_best_is_kept(config, tmp_path, monkeypatch):
    run, whole = tmp_path / "run", tmp_path / "whole"
    runs.done(config, f"run={whole}")

    def cut(images):
        jobs.wait_for("its checkpoint", lambda: path_at(run / "checkpoints", 288).exists())  # submitted before
        raise PowerCutError

    with monkeypatch.context() as patch:
        during_evaluation_at(288, patch, cut)
        with pytest.raises(PowerCutError):
            train(load(config, [f"run={run}"]))
    assert [row["nimg"] for row in lines(run / "results.jsonl")] == [144, 144]
    runs.done(config, f"run={run}")
    values = [
        {(row["nimg"], row["metric"]): row["value"] for row in lines(folder / "results.jsonl")}
        for folder in (run, whole)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-9) and len(values[0]) == 8
    assert [path.name for path in found(run / "checkpoints")] == [path.name for path in found(whole / "checkpoints")]


def test_a_signal_ends_an_evaluation_and_the_run_is_saved(config, tmp_path, monkeypatch):
    run = tmp_path / "run"

    def strike(images):
        signal.raise_signal(signal.SIGTERM)
        return images

    during_evaluation_at(288, monkeypatch, strike)
    result = runs.ganlab("train", config, f"run={run}")
    assert result.exit_code == 75, result.output
    assert {row["nimg"] for row in lines(run / "results.jsonl")} == {144}
    assert found(run / "checkpoints")[-1].name == "nimg-000000000336.ckpt"
    runs.done(config, f"run={run}")
    assert sorted({row["nimg"] for row in lines(run / "results.jsonl")}) == [144, 336, 432, 480]


def test_a_run_that_is_done_is_judged_where_it_was_not(config, tmp_path):
    run = tmp_path / "run"
    runs.done(config, f"run={run}", "evaluation.every_nimg=null", "train.keep_best=null")
    runs.done(config, f"run={run}")
    assert {row["nimg"] for row in lines(run / "results.jsonl")} == {480}
    assert "already done" in runs.done(config, f"run={run}")


def test_the_best_is_the_highest_of_what_is_better_high():
    full = "biased-precision1k_faces-full240_toy_ema_bn-running"
    assert [higher_is_better(name) for name in ("precision", full, "is", "is50k_cifar10", "cas-5k")] == [True] * 5
    lower = ("fid", "swd", "swd_level32-100", "generator/loss", "fid50k_precision", "intra_fid", None)
    assert [higher_is_better(name) for name in lower] == [False] * 7


@pytest.mark.slow
@pytest.mark.multi
def test_sharded_networks_are_judged_as_whole_ones(config, tmp_path):
    settings = [config, "machine.precision=fp64"]  # of so few samples rank 0 makes all
    jobs.launch("trained.py", 2, *settings, f"run={tmp_path / 'sharded'}", "machine.shard=true")
    runs.done(*settings, f"run={tmp_path / 'whole'}")
    values = [
        {(row["nimg"], row["metric"]): row["value"] for row in lines(tmp_path / name / "results.jsonl")}
        for name in ("sharded", "whole")
    ]
    assert len(values[0]) == 8 and values[0] == pytest.approx(values[1], rel=1e-5)
