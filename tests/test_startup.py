"""What each verb imports on a tiny real dataset and run: the slow packages only where they are used."""

import ast
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_runs as runs
from repository import REPOSITORY
from told import write_run

SLOW = {
    "torch",
    "pytorch_lightning",
    "lightning_fabric",
    "torchvision",
    "wandb",
    "torchmetrics",
    "scipy",
    "omegaconf",
    "beartype",
    "webdataset",
    "jaxtyping",
    "jinja2",
}
LIGHTNING = {"pytorch_lightning", "lightning_fabric", "torchmetrics", "torchvision", "scipy"}
"""With what it imports by itself."""
MODEL = {"torch", *LIGHTNING, "omegaconf", "beartype", "jaxtyping"}
"""Of who reads a config and makes its model."""
CALL = f"""
import ast, sys
from ganlab.cli import main
codes = []
for words in ast.literal_eval(sys.argv[1]):
    try:
        main(words)
    except SystemExit as ended:
        codes.append(ended.code)
print((codes, sorted({SLOW!r} & set(sys.modules))))
"""


def imported(*verbs: tuple[object, ...]) -> set[str]:
    """Run verbs, which must succeed, in one process of their own."""
    command = [sys.executable, "-c", CALL, repr([[str(word) for word in words] for words in verbs])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    codes, modules = ast.literal_eval(done.stdout.splitlines()[-1])
    assert codes == [0] * len(verbs), done.stderr
    return set(modules)


def test_the_package_is_light() -> None:
    code = "import sys, ganlab, ganlab.data, ganlab.types; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (SLOW | {"numpy"}) & set(ast.literal_eval(done.stdout)) == set()


def test_datasets_are_indexed_and_looked_at_and_results_compared_without_torch(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "a.tar").symlink_to(dataset / "shard-000000.tar")
    row = '{"name": "fid", "metric": "fid", "value": 1, "standard_error": null, "nimg": 1, "protocol": {}}'
    (tmp_path / "results.jsonl").write_text(row + "\n")
    verbs = [
        ("data", "show", dataset, "--contact-sheet", tmp_path / "sheet.png"),
        ("data", "check", dataset, "--contact-sheet", tmp_path / "sheet.png"),
        ("data", "index", tmp_path / "tars", "--size", 8, "--out", tmp_path / "index"),
        ("compare", tmp_path),
        ("configs",),
        ("configs", "digits/dcgan.yaml", "--out", tmp_path),
    ]
    assert imported(*verbs) == set()


@pytest.mark.slow
def test_pages_and_plots_need_no_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    verbs = [("report", run), ("plot", run, "--out", tmp_path / "x.pdf"), ("watch", "--help")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert imported(*verbs) == {"jinja2"}  # of the pages
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 5  # of which three are to start


@pytest.mark.slow
def test_packing_needs_torch_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", images=np.zeros((20, 8, 8), np.uint8))  # webdataset writes them, and brings torch
    words = (tmp_path / "images.npz", tmp_path / "packed", "--size", 8, "--pyramid")
    assert imported(("data", "pack", *words)) == {"torch", "webdataset"}


@pytest.mark.slow
def test_a_benchmark_of_data_needs_torch_alone(dataset: Path) -> None:
    assert imported(("data", "bench", dataset)) == {"torch"}


@pytest.mark.slow
def test_two_folders_are_compared_without_lightning(dataset: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path))
    assert imported(("evaluate", dataset, dataset, "--metrics", "swd")) == {"torch", "jaxtyping"}


@pytest.mark.slow
def test_a_model_brings_lightning_and_neither_wandb_nor_pages(dataset: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path))
    config, run = runs.write_config(tmp_path, dataset), tmp_path / "run"
    verbs = [
        ("train", config, f"run={run}", "train.total_nimg=48", "logging.wandb=disabled"),
        ("show", run / "config.yaml"),
        ("sample", run, "-n", 4, "--out", tmp_path / "grid.png"),
        ("evaluate", run, "--metrics", "swd", "-n", 16),
        ("export", run, "--out", tmp_path / "export"),
    ]
    assert imported(*verbs) <= MODEL
