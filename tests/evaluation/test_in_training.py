"""Evaluations while a run trains: in its results, its metrics, its choice of a checkpoint, and in W&B."""

import json
from pathlib import Path

import pytest
import tiny_runs as runs
import yaml

from ganlab.experiment.checkpoints import facts_of, found

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
        ("evaluation.samples=0", "evaluation.samples: 0 is not positive"),
        ("evaluation.extractor={_target_: torch.nn.ReLU}", "evaluation.extractor._target_: 'torch.nn.ReLU' is not for"),
    ],
)
def test_mistakes_are_found_before_the_first_move(config: Path, tmp_path: Path, override: str, message: str) -> None:
    assert message in runs.refused("train", config, f"run={tmp_path / 'run'}", override)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
