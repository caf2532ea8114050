"""The pages of docs/: what they show is run, and what they name is there."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import tiny_runs as runs
from PIL import Image
from repository import REPOSITORY

from ganlab.experiment import checkpoints

PAGES = sorted((REPOSITORY / "docs").glob("*.md"))


def blocks(page: str) -> list[tuple[str, str]]:
    """What follows the fence, and what is inside."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", (REPOSITORY / "docs" / page).read_text(), re.M | re.S)


@pytest.mark.slow
def test_a_reader_of_the_page_has_a_gan_of_three_players(dataset, tmp_path, monkeypatch, capsys):
    commands = []
    for kind, text in blocks("your-own-gan.md"):
        language, _, name = kind.partition(" ")
        if name:
            (tmp_path / name).write_text(text)
        if language == "sh":
            commands += text.splitlines()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits").symlink_to(dataset)  # which is of the same size
    shown = {}
    for command in commands:
        program, *words = shlex.split(command)
        if program == "ganlab":
            more = ["data.image={height: 16, width: 16, channels: 1, classes: 3}", "logging.wandb=disabled"]
            more += ["train.total_nimg=9600", "train.tick_nimg=3200", "train.checkpoint_every_nimg=9600"]
            result = runs.ganlab(*words, *(more if words[0] in ("show", "train") else ()))
            assert result.exit_code == 0, result.output
            shown[words[0]] = result.output
    assert shown.keys() == {"show", "train", "sample", "export"}
    for name in ("encoder", "decoder", "critic", "autoencoder"):
        assert f"150 of the {name}\n" in shown["show"] or f"\n{name} " in shown["show"]
    assert "steps       150 of the autoencoder\n" in shown["show"]
    newest = checkpoints.newest(Path("runs/autoencoder/checkpoints"))
    assert newest is not None
    assert newest[1]["ganlab"]["clock"]["moves"] == {"autoencoder": 150, "critic": 150, "encoder": 150}
    assert Image.open("codes.png").size == (8 * 50 + 2, 8 * 50 + 2)
    assert Path("decoder/generator.safetensors").exists()
    rows = Path("runs/autoencoder/metrics.jsonl").read_text().splitlines()
    assert all(f'"{name}"' in rows[-1] for name in ("autoencoder/loss", "critic/prior_logit", "encoder/lr"))
    first, last = (float(re.search(r'"autoencoder/loss": ([\d.]+)', rows[at])[1]) for at in (0, -1))
    assert last < first
    capsys.readouterr()
    runpy.run_path("use.py")
    assert capsys.readouterr().out.startswith("(16, 1, 16, 16) Clock(")


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_files_and_names_of_the_pages_exist(page):
    text = (REPOSITORY / "docs" / page).read_text()
    rooms = {path.name for path in (REPOSITORY / "ganlab").iterdir()}
    named = {
        name for name in re.findall(r"`([\w./-]+\.(?:py|yaml|md))`", text) if name.split("/")[0] in rooms | {"ganlab"}
    }
    missing = [
        name for name in sorted(named) if not any((REPOSITORY / base / name).exists() for base in ("", "ganlab"))
    ]
    assert not missing
    for module, name in re.findall(r"from (ganlab[\w.]*) import (\w+)", text):
        assert hasattr(__import__(module, fromlist=[name]), name), (module, name)
