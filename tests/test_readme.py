"""What the README and the first pages say, done: commands, configs and examples."""

from pathlib import Path
from typing import Any

import documents
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from repository import REPOSITORY

import ganlab
from ganlab.cli import main
from ganlab.experiment.config import load


def run(words: list[str], *more: str) -> str:
    result = CliRunner().invoke(main, [*words, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's `photos`, two classes of 70x64 px, and its configs."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").symlink_to(REPOSITORY / "configs")
    for number in range(40):
        path = folder / "photos" / ("cats", "dogs")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (70, 64), (6 * number, 0, 255 - 6 * number)).save(path)
    return folder


@pytest.mark.slow
def test_the_way_from_photographs_to_an_exported_generator(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    documents.write_files("README.md", photos)
    small = ("train.total_nimg=32", "train.batch=16", "model.width=4", "machine.device=cpu", "machine.threads=1")
    verbs = [words for program, *words in documents.commands("README.md") if program == ".venv/bin/ganlab"]
    for words in verbs[: verbs.index(["watch", "runs/photos-my"])]:
        print(run(words, *(small if words[0] in ("train", "show") else ())))
    for program, *words in documents.commands("docs/photographs.md"):
        if program == "ganlab" and words[0] in ("sample", "film", "report"):
            run(words)
    assert sorted(path.name for path in Path("chosen").iterdir())[0].endswith("37.png")
    assert Image.open("walk.gif").n_frames > 10 and Path("runs/photos-my/report.html").exists()
    assert Image.open("grid.png").size == (8 * 66 + 2, 8 * 66 + 2)
    assert Image.open("data/photos/contact-sheet.png").size[0] > 64
    again = ganlab.load("photos-generator").sample(4, seed=3)
    assert torch.equal(again, ganlab.load("runs/photos-my").sample(4, seed=3))


def test_the_python_example(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    import numpy as np

    from ganlab.data.make.pack import pack

    np.savez("digits.npz", images=np.zeros((70, 16, 16), np.uint8), labels=np.arange(70) % 10)
    pack("digits.npz", Path("data/digits"), size=16)
    example = documents.block("docs/python.md", "python", "pl.Trainer")
    assert len([line for line in example.splitlines() if line]) <= 13
    names: dict[str, object] = {}
    exec(example.replace("max_steps=100", "max_steps=4, enable_progress_bar=False, logger=False"), names)
    assert names["model"].clock.nimg == 4 * 64  # type: ignore[attr-defined]
    assert Image.open("samples.png").size == (8 * 50 + 2, 8 * 50 + 2)


@pytest.mark.slow
def test_the_loop_without_lightning(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    import numpy as np

    from ganlab.data.make.pack import pack

    pixels = np.random.default_rng(0).integers(0, 256, (70, 16, 16), np.uint8)
    np.savez("loop.npz", images=pixels, labels=np.arange(70) % 10)
    pack("loop.npz", Path("data/loop"), size=16)
    names: dict[str, Any] = {}
    exec(documents.block("docs/data.md", "python", "BatchLoader").replace("data/digits", "data/loop"), names)
    assert names["step"] == 10_000 // 64
    assert names["images"].shape == (64, 1, 16, 16) and names["images"].dtype == torch.uint8
    place = 64 * names["step"] % 70  # an epoch is 70 images, all of them
    epoch = names["dataset"].order(0)(np.arange(64 * names["step"] - place, 64 * names["step"] - place + 70))
    assert sorted(epoch.tolist()) == list(range(70))


def test_the_config_read_line_by_line_is_the_shipped_one() -> None:
    told = documents.block("docs/configs.md", "yaml", "base: ../base.yaml")
    path = REPOSITORY / "configs" / "digits" / "told.yaml"
    try:
        path.write_text(told)
        assert load(path, ["run=x"]) == load(path.with_name("dcgan.yaml"), ["run=x"])
    finally:
        path.unlink()
