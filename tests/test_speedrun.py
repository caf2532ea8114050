"""The CIFAR-10 speedrun, on a CPU at tiny size, in two stretches."""

from pathlib import Path

import jobs
import pytest
import tiny_runs as runs

pytestmark = [pytest.mark.slow, pytest.mark.multi]


def speedrun(folder: Path, source: Path, *words: object) -> str:
    words = "sngan", "--source", source, "--folder", folder, "--metric", "swd", "--target", -1, *words
    return jobs.launch("../../benchmarks/speedrun.py", *words, GANLAB_DRY_GPU="1")


def test_a_stretch_saves_and_the_next_one_ends_with_the_best_value_and_all_minutes(tmp_path):
    runs.pack_noise(tmp_path, classes=10, channels=3)
    source = tmp_path / "source.npz"
    first = speedrun(tmp_path, source, "--minutes", 0)
    assert "in 1 stretches\n" in first and first.endswith("the same command goes on\n")
    second = speedrun(tmp_path, source)
    assert "in 2 stretches\n96 of 96 images" in second and "best: swd64_shards-first64_ema_bn-live" in second, second
    assert second.endswith("all images are shown, and the target, -1, is not reached\n")
