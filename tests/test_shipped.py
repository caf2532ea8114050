"""Shipped things are tested things: every YAML, and the words that explain each of its keys."""

import ast
import inspect
from dataclasses import replace
from typing import Any

import pytest
import tiny_runs as runs
import torch
from repository import REPOSITORY

from ganlab.engine.game import Game
from ganlab.experiment import frame
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.experiment.targets import resolve
from ganlab.types import ImageSpec

CONFIGS = REPOSITORY / "configs"
MACHINES = sorted((CONFIGS / "machine").glob("*.yaml"))
EXPERIMENTS = sorted(path for path in CONFIGS.rglob("*.yaml") if path.name != "base.yaml" and path not in MACHINES)


SIZES = {"cifar10/ali.yaml": 32, "fashion/r3gan.yaml": 8, "own/stylegan2_ada.yaml": 8}
"""Of networks that are made for one size, halve their channels with each, or choose their widths themselves; the others
take 16 px."""


def name(path):
    return str(path.relative_to(CONFIGS))


def narrow(part: Any) -> Any:
    """Give every network of a model a width of 8."""
    if not isinstance(part, dict) or "_target_" not in part:
        return part
    kinds = Game if part["_target_"].startswith("ganlab.models.") else object
    target = resolve(part["_target_"], kinds, ["ganlab", "torch"])
    widths = [key for key in inspect.signature(target).parameters if key.endswith(("width", "width_max"))]
    at_once = {"pretrain_nimg": 0} if "pretrain_nimg" in part else {}  # all players step from the first round on
    return {key: narrow(value) for key, value in part.items()} | dict.fromkeys(widths, 8) | at_once


def test_there_is_something_to_test():
    assert "digits/dcgan.yaml" in map(name, EXPERIMENTS) and len(MACHINES) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_a_shipped_config_is_shown_without_data(path, tmp_path, monkeypatch):
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path))  # where no run has been: how long it will take is not told
    result = runs.ganlab("show", path, f"data.url={tmp_path / 'none'}")
    assert result.exit_code == 0, result.output
    for words in ("_target_:", "  layer", "  total", "as declared: no data found", "run folder"):
        assert words in result.output


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_a_shipped_config_makes_two_steps(path):
    config = load(path)
    declared = config.data.image
    assert declared is not None, "declare data.image, so that the config can be shown without its data"
    side = SIZES.get(name(path), 16)
    streams = {"real": declared} | ({"other": config.data.other.image} if config.data.other else {})
    assert all(streams.values()), "declare data.other.image too"
    streams = {  # a point stays one
        at: ImageSpec(min(side, of.height), min(side, of.width), of.channels, of.classes) for at, of in streams.items()
    }
    other = config.data.other and replace(config.data.other, image=streams["other"])
    data = replace(config.data, image=streams["real"], other=other)
    model = build_model(replace(config, model=narrow(config.model), data=data))
    n = 2 * model.runtime.group
    model.configure_optimizers()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    draw = torch.Generator().manual_seed(0)
    rounds = max(player.period(0) + player.period(1) for player in model.players.values())
    for phase in model.phases:  # of a model that grows, two steps in each
        model.clock.nimg = phase.from_nimg
        for number in range(rounds):
            batch = {}
            for at, of in streams.items():
                shape = (n, of.channels, of.height, of.width)
                batch[at] = torch.randint(256, shape, dtype=torch.uint8, generator=draw)
                labels = torch.arange(n) % of.classes if of.classes else torch.full((n,), -1)
                batch["labels" if at == "real" else "other_labels"] = labels
            model.training_step(batch, number)
    leader, *_ = steps = model.clock.steps
    assert steps[leader] == rounds * len(model.phases) and min(steps.values()) == 2 * len(model.phases)
    moved = {at for player in model.players.values() for at in player.networks}
    for key, tensor in model.state_dict().items():
        assert tensor.isfinite().all(), key
        if tensor.is_floating_point() and key.endswith("weight") and key.split(".")[0] in moved:
            assert not torch.equal(tensor, before[key]), f"{key} did not move"


@pytest.mark.parametrize("machine", MACHINES, ids=name)
def test_a_machine_file_lies_over_any_config(machine):
    over, plain = load(EXPERIMENTS[0], machine=machine), load(EXPERIMENTS[0])
    assert over != plain
    assert replace(over, machine=plain.machine, logging=plain.logging) == plain


def test_every_key_of_the_frame_says_what_it_is():
    tree = ast.parse(inspect.getsource(frame))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert {"Config", "Data", "Train", "Machine", "Logging"} <= {node.name for node in classes}
    for node in classes:
        for item, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(item, ast.AnnAssign):
                says = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after.value.value
                assert says, f"{node.name}.{ast.unparse(item.target)} has no docstring"
                optional = "None" in ast.unparse(item.annotation)
                assert not optional or "None" in says, f"{node.name}.{ast.unparse(item.target)}: what does None mean?"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that a person is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_list_names_each_config_its_comment_and_its_data(here):
    result = runs.ganlab("configs")
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in result.stdout.splitlines()}
    scripts = {"launch/slurm.sbatch", "launch/torchrun.sh"}
    assert lines.keys() == {name(path) for path in CONFIGS.rglob("*.yaml")} | scripts
    for path in (*EXPERIMENTS, *MACHINES):
        assert lines[name(path)].startswith(path.read_text().splitlines()[0].removeprefix("# "))
    assert lines["digits/gan.yaml"].endswith(": two minutes on one core of a CPU. [data/digits]")
    assert lines["digits/aae_mixture.yaml"].endswith(" [data/digits]")  # of its base
    assert lines["toy/lines.yaml"].endswith(" it circles. [toy:lines]")
    assert lines["launch/torchrun.sh"].startswith("ganlab train under torchrun")


@pytest.mark.parametrize("told", ["cifar10/dcgan.yaml", "digits/aae_mixture.yaml", "digits/gan.yaml"])
def test_a_copy_in_another_folder_is_the_same_config(told, here):
    assert runs.ganlab("configs", told, "--out", "mine.yaml").stdout == "mine.yaml\n"
    assert load("mine.yaml", ["run=x"]) == load(CONFIGS / told, ["run=x"]) == load(f"ganlab:{told}", ["run=x"])


def test_nothing_is_overwritten_and_a_folder_takes_the_name(here):
    assert runs.ganlab("configs", "launch/torchrun.sh", "--out", here).stdout == f"{here / 'torchrun.sh'}\n"
    assert (here / "torchrun.sh").stat().st_mode & 0o111
    (here / "dcgan.yaml").write_text("mine")
    assert runs.refused("configs", "digits/dcgan.yaml") == "dcgan.yaml: File exists; choose another name\n"
    assert (here / "dcgan.yaml").read_text() == "mine"


def test_a_shipped_config_is_a_base_and_a_machine_file_anywhere(here):
    (here / "mine.yaml").write_text("base: ganlab:toy/ring_unrolled.yaml\nseed: 3\n")
    config = load("mine.yaml", machine="ganlab:machine/laptop.yaml")
    ring = load(CONFIGS / "toy" / "ring_unrolled.yaml", machine=CONFIGS / "machine" / "laptop.yaml")
    assert config == replace(ring, seed=3, run=config.run)


@pytest.mark.parametrize(
    ("told", "near"),
    [
        ("digits/infogam.yaml", "did you mean 'digits/infogan.yaml'?"),
        ("digits/dcgan", "did you mean 'digits/dcgan.yaml'?"),
        ("biggan_deep", "did you mean imagenet128/biggan_deep.yaml?"),
        ("../pyproject.toml", "`ganlab configs` lists them"),
    ],
)
def test_the_nearest_name_is_told(told, near, here):
    said = f"ganlab:{told}: no shipped config has this name; {near}\n"
    assert runs.refused("show", f"ganlab:{told}") == runs.refused("configs", told) == said
    (here / "mine.yaml").write_text(f"base: ganlab:{told}\n")
    assert runs.refused("train", "mine.yaml") == said
