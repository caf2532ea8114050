"""Truncation and standing statistics by the verbs: what they measure, what their names say, and what is refused."""

import json
from pathlib import Path

import pytest
import tiny_runs as runs
import torch
from extractors import Toy
from PIL import Image

import ganlab
from ganlab.evaluation.images import Shards
from ganlab.metrics.kernel import kernel_distance
from ganlab.pictures.grids import to_uint8

pytestmark = pytest.mark.usefixtures("one_thread")


def rows_of(run: Path) -> list[dict]:
    return list(map(json.loads, (run / "results.jsonl").read_text().splitlines()))


@pytest.mark.slow
def test_a_sweep_measures_each_truncation_and_draws_a_chart(run: Path, toy: Path) -> None:
    words = ("--metrics", "kid,msssim", "--extractor", toy, "-n", 128, "--standing", 2)
    result = runs.ganlab("evaluate", run, "--truncation", "0.5,2", *words)
    assert result.exit_code == 0, result.output
    head, *lines = result.stdout.splitlines()
    rows = rows_of(run)
    assert head.split() == ["truncation", "kid", "msssim"] and max(map(len, (head, *lines[:2]))) <= 60
    assert [line.split()[0] for line in lines[:2]] == ["0.5", "2"]
    assert [row["protocol"]["fakes_truncation"] for row in rows] == [0.5, 0.5, 2, 2]
    assert {row["protocol"]["fakes_batch_norm"] for row in rows} == {"standing2"}
    kid = [row["value"] for row in rows if row["metric"] == "kid"]
    assert [line.split()[1] for line in lines[:2]] == [f"{v:.4g}{'*' * (v == min(kid))}" for v in kid]
    assert kid[0] != kid[1] and rows[0]["name"].endswith("_ema_bn-standing2_truncated-0.5") and rows[0]["name"] in lines
    with Image.open(run / "truncation.png") as picture:
        assert picture.width == 990 and picture.height > 1000 and len(picture.convert("L").getcolors(256)) > 20
    assert runs.ganlab("evaluate", run, "--truncation", "2", *words).exit_code == 0
    alone = rows_of(run)[4]
    assert (alone["name"], alone["value"]) == (rows[2]["name"], rows[2]["value"])  # of its own statistics in the sweep


def test_a_truncation_is_measured_with_its_own_statistics(run: Path, dataset: Path, toy: Path) -> None:
    words = ("--metrics", "kid", "--extractor", toy, "-n", 128)
    result = runs.ganlab("evaluate", run, *words, "--truncation", 0.5, "--standing", 3)
    assert result.exit_code == 0, result.output
    model = ganlab.load(run)
    model.stand(3, 0.5)
    made = [model.synthesize(start, 0, "evaluation", truncation=0.5)[0] for start in (0, 64)]
    reals = torch.cat([Shards(str(dataset)).block(start)[0] for start in range(0, 240, 64)])
    fake, real = (Toy()(images.expand(-1, 3, -1, -1)) for images in (to_uint8(torch.cat(made)), reals))
    (row,) = rows_of(run)
    assert row["value"] == pytest.approx(kernel_distance(fake, real)[0], rel=1e-4)
    assert row["name"].endswith("_ema_bn-standing3_truncated-0.5")


def test_a_grid_and_an_exported_generator_are_truncated_too(run: Path, tmp_path: Path) -> None:
    result = runs.ganlab("sample", run, "-n", 4, "--truncation", 0.3, "--standing", 2)
    assert result.exit_code == 0 and (run / "samples-seed-0-truncation-0.3-standing-2.png").exists(), result.output
    assert runs.ganlab("export", run, "--out", tmp_path / "exported").exit_code == 0
    words = ("-n", 4, "--truncation", 0.3, "--standing", 2, "--out")
    assert runs.ganlab("sample", tmp_path / "exported", *words, tmp_path / "a.png").exit_code == 0
    assert (tmp_path / "a.png").read_bytes() == (run / "samples-seed-0-truncation-0.3-standing-2.png").read_bytes()
    whole = runs.ganlab("sample", run, "-n", 4, "--out", tmp_path / "b.png")
    assert whole.exit_code == 0 and (tmp_path / "b.png").read_bytes() != (tmp_path / "a.png").read_bytes()


def test_what_has_no_truncation_is_refused(run: Path, dataset: Path) -> None:
    shards = ("--metrics", "swd", "--truncation", "0.5")
    assert "makes no images of latents; leave --truncation" in runs.refused("evaluate", dataset, dataset, *shards)
    assert "truncation: -1.0: write a number above 0" in runs.refused("sample", run, "--truncation", "-1")
    assert "are not truncated; leave" in runs.refused(
        "evaluate", run, "--metrics", "conditioning", "-n", 64, "--truncation", "0.5"
    )
    before = (run / "results.jsonl").exists()
    words = ("--metrics", "msssim", "-n", 64, "--truncation", "0.5,-1")
    assert "truncation: -1.0: write a number above 0" in runs.refused("evaluate", run, *words)
    assert (run / "results.jsonl").exists() == before  # refused before anything was measured
    message = runs.ganlab("evaluate", run, "--truncation", "0.5,half")
    assert message.exit_code == 2 and "write a number, or several" in message.stderr
    assert "made of no latents" in runs.refused("sample", run, "--from", dataset, "--truncation", "0.5")
