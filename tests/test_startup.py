"""What each verb imports on a tiny real dataset and run: the slow packages only where they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_runs as runs
from repository import REPOSITORY

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
}
LIGHTNING = {"pytorch_lightning", "lightning_fabric", "torchmetrics", "torchvision", "scipy"}
"""With what it imports by itself."""
MODEL = {"torch", *LIGHTNING, "omegaconf", "beartype", "jaxtyping"}
"""Of who reads a config and makes its model."""
CALL = f"""
import sys
from ganlab.cli import main
code = None
try:
    main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print((code, sorted({SLOW!r} & set(sys.modules))))
"""


def imported(*words: object) -> set[str]:
    """Run a verb, which must succeed, in a process of its own."""
    command = [sys.executable, "-c", CALL, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    code, modules = ast.literal_eval(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


def test_the_package_is_light() -> None:
    code = "import sys, ganlab, ganlab.data, ganlab.types; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (SLOW | {"numpy"}) & set(ast.literal_eval(done.stdout)) == set()


@pytest.mark.parametrize("verb", ["show", "check", "index"])
def test_datasets_are_indexed_and_looked_at_without_torch(dataset: Path, tmp_path: Path, verb: str) -> None:
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "a.tar").symlink_to(dataset / "shard-000000.tar")
    words = {
        "show": (dataset, "--contact-sheet", tmp_path / "sheet.png"),
        "check": (dataset, "--contact-sheet", tmp_path / "sheet.png"),
        "index": (tmp_path / "tars", "--size", 8, "--out", tmp_path / "index"),
    }
    assert imported("data", verb, *words[verb]) == set()


def test_packing_needs_torch_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", images=np.zeros((20, 8, 8), np.uint8))  # webdataset writes them, and brings torch
    words = (tmp_path / "images.npz", tmp_path / "packed", "--size", 8, "--pyramid")
    assert imported("data", "pack", *words) == {"torch", "webdataset"}


def test_a_benchmark_of_data_needs_torch_alone(dataset: Path) -> None:
    assert imported("data", "bench", dataset) == {"torch"}


def test_results_are_compared_without_torch(tmp_path: Path) -> None:
    row = '{"name": "fid", "metric": "fid", "value": 1, "standard_error": null, "nimg": 1, "protocol": {}}'
    (tmp_path / "results.jsonl").write_text(row + "\n")
    assert imported("compare", tmp_path) == set()


def test_two_folders_are_compared_without_lightning(dataset: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path))
    assert imported("evaluate", dataset, dataset, "--metrics", "swd") == {"torch", "jaxtyping"}


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("startup")
    config = runs.write_config(folder, dataset)
    words = ("train", config, f"run={folder / 'run'}", "train.total_nimg=48", "logging.wandb=disabled")
    assert imported(*words) <= MODEL
    return folder / "run"


@pytest.mark.parametrize("verb", ["show", "sample", "evaluate", "export"])
def test_a_model_brings_lightning_and_no_wandb(trained: Path, tmp_path: Path, monkeypatch, verb: str) -> None:
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path))
    words = {
        "show": (trained / "config.yaml",),
        "sample": (trained, "-n", 4, "--out", tmp_path / "grid.png"),
        "evaluate": (trained, "--metrics", "swd", "-n", 16),
        "export": (trained, "--out", tmp_path / "export"),
    }
    assert imported(verb, *words[verb]) <= MODEL
