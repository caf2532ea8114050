"""Starting from another run's networks, and weights that stay."""

import json
from functools import partial
from pathlib import Path

import pytest
import tiny
import tiny_runs as runs
import torch
import yaml
from tiny import distance
from torch.optim import AdamW

from ganlab.commands.export import export
from ganlab.constraints import WeightClip
from ganlab.experiment.build import build_model, open_dataset
from ganlab.experiment.checkpoints import newest
from ganlab.experiment.checks import check_freeze, with_facts
from ganlab.experiment.config import load
from ganlab.experiment.origin import take_weights
from ganlab.files import sha256_of
from ganlab.types import UserError


@pytest.fixture
def config(tmp_path, dataset):
    return runs.write_config(tmp_path, dataset)


def built(config, *overrides):
    loaded = load(config, overrides)
    return build_model(with_facts(loaded, open_dataset(loaded), None))


def weights(run):
    return newest(run / "checkpoints")[1]["state_dict"]


@pytest.fixture(scope="module")
def other_data(tmp_path_factory):
    """Images of two classes instead of three; and images twice as large."""
    folder = tmp_path_factory.mktemp("other")
    for name in ("classes", "size"):
        (folder / name).mkdir()
    return {
        "classes": runs.pack_noise(folder / "classes", classes=2, images=8),
        "size": runs.pack_noise(folder / "size", classes=3, images=8, size=32),
    }


def test_a_run_of_the_same_shapes_takes_all_networks_and_averages(config, finished):
    model, saved = built(config, "seed=7"), weights(finished)
    assert distance(model.state_dict(), saved) > 0.1
    origin = take_weights(model, finished)
    assert distance(model.state_dict(), saved) == 0 and model.clock.nimg == 0
    path = newest(finished / "checkpoints")[0]
    assert (origin.path, origin.sha256, origin.nimg) == (str(path), sha256_of(path), 480)
    assert origin.left_out == () and origin.copied == sum(not name.startswith("ema.") for name in saved)


@pytest.mark.parametrize("kind", ["classes", "size"])
def test_of_other_classes_or_another_size_what_fits_is_taken_and_the_rest_named(config, finished, other_data, kind):
    model, drawn, saved = (
        built(config, f"data.url={other_data[kind]}"),
        built(config, f"data.url={other_data[kind]}").state_dict(),
        weights(finished),
    )
    origin = take_weights(model, finished)
    said = "\n".join(origin.lines())
    state = model.state_dict()
    taken = {name for name in state if name in saved and saved[name].shape == state[name].shape}
    assert all(torch.equal(state[name], saved[name] if name in taken else drawn[name]) for name in state)
    assert origin.copied == sum(not name.startswith("ema.") for name in taken) > 0
    if kind == "classes":
        assert origin.left_out == (
            "generator.layers.0.weight: (11, 16, 4, 4) there, (10, 16, 4, 4) here; drawn anew",
            "discriminator.layers.5.weight: (4, 16, 4, 4) there, (3, 16, 4, 4) here; drawn anew",
        )
    else:  # every tensor that was not copied stands in the list, by itself or with its module
        left = {line.split(":")[0] for line in origin.left_out}
        for name in state.keys() - taken:
            parts = name.replace("ema.", "generator.").split(".")
            assert left & {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    assert said.startswith(f"starting from {finished}/checkpoints/nimg-000000000480.ckpt, 480 images: ")


def test_modules_that_only_one_run_has_are_named_whole(finished, config):
    model = tiny.game()
    with pytest.raises(UserError, match="no tensor of it fits this model"):
        take_weights(model, finished)
    with pytest.raises(UserError, match=r"nowhere: holds no checkpoint to start from; give --from the folder of a run"):
        take_weights(model, Path("nowhere"))
    model = built(config)
    model.add_module("more", torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)))
    model.network_names = (*model.network_names, "more")
    del model.discriminator.layers[0]
    left = take_weights(model, finished).left_out
    assert "more: not there; drawn anew" in left and "discriminator.layers.0: not there; drawn anew" not in left


def test_an_exported_generator_gives_its_average_to_both(config, finished, tmp_path):
    export(finished, tmp_path / "exported", ())
    model, saved = built(config, "seed=7"), weights(finished)
    drawn = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    origin = take_weights(model, tmp_path / "exported")
    for name, tensor in model.state_dict().items():
        network, _, rest = name.partition(".")
        assert torch.equal(tensor, drawn[name] if network == "discriminator" else saved[f"ema.{rest}"])
    assert origin.left_out == ("discriminator: not there; drawn anew",) and origin.nimg == 480


FREEZE = ["discriminator.layers.0", "generator.layers.0"]


def test_a_run_that_starts_from_another_remembers_it_and_keeps_frozen_weights(config, finished, tmp_path):
    """Through the command line; the second part of the run does not say where it came from."""
    run, words = tmp_path / "run", (config, "seed=7", f"train.freeze=[{','.join(FREEZE)}]", f"run={tmp_path / 'run'}")
    said = runs.done(*words, "train.total_nimg=48", "--from", finished)
    assert said.startswith(f"starting from {finished}/checkpoints/nimg-000000000480.ckpt, 480 images: 16 tensors fit\n")
    said = runs.done(*words, "train.total_nimg=96")
    assert "resuming from nimg-000000000048" in said and "starting from" not in said
    ours, theirs = weights(run), weights(finished)
    for name in ours:
        stays = name.startswith(tuple(f"{frozen}." for frozen in FREEZE))
        assert stays == torch.equal(ours[name], theirs[name])
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    begun = [event for event in events if event["event"] in ("start", "resume")]
    assert begun[0]["from"]["nimg"] == 480 and "from" not in begun[1]
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["train"]["start_from"] == str(finished) and saved["train"]["freeze"] == FREEZE
    said = runs.refused("train", *words, "--from", "elsewhere")
    assert f"train.start_from: '{finished}' in the checkpoint, 'elsewhere' now" in said


def test_frozen_weights_do_not_change_the_steps_of_the_others():
    """Three rounds with weight decay: as a game whose frozen weights are put back after every step."""
    adam = partial(AdamW, lr=3e-3, weight_decay=0.5)
    both = {"optimizers": {"generator": adam, "discriminator": adam}}
    frozen = tiny.game(**both, freeze=("discriminator.layers.0", "generator.classwise"))
    plain = tiny.game(**both)
    kept = {name: plain.get_submodule(name).weight for name in frozen.runtime.freeze}
    before = {name: weight.detach().clone() for name, weight in kept.items()}
    bias = plain.discriminator.layers[0].bias.detach().clone()
    for game in (frozen, plain):
        game.configure_optimizers()
    for batch in tiny.batches(3, 4):
        frozen.training_step(batch, 0)
        reals = dict(zip(("real", "labels"), batch, strict=True))
        for player in plain.players:
            plain.step(player, reals)
            with torch.no_grad():
                plain.discriminator.layers[0].bias.copy_(bias)
                for name, weight in kept.items():
                    weight.copy_(before[name])
    live = [name for name in frozen.state_dict() if not name.startswith("ema.")]
    ours, theirs = ({name: game.state_dict()[name] for name in live} for game in (frozen, plain))
    assert distance(ours, theirs) == 0
    assert all(torch.equal(frozen.get_submodule(name).weight, weight) for name, weight in before.items())
    assert torch.equal(frozen.ema.classwise.weight, before["generator.classwise"])


@pytest.mark.parametrize(
    ("freeze", "why"),
    [
        (["discriminator.layer.0"], "no such module with weights; did you mean 'discriminator.layers.0'?"),
        (["ema.linear"], "no such module with weights; did you mean"),
        (["discriminator.layers.1"], "discriminator.layers.1: there is no such module with weights"),
        (["xyz"], "; the networks are generator, discriminator"),
        (["generator"], "freezes all weights of the generator, which must move some"),
        (["discriminator.layers"], "freezes all weights of the discriminator"),
        (["discriminator.layers.0"], "have constraints ("),
    ],
)
def test_what_cannot_be_frozen_is_refused(freeze, why):
    clip = {"constraints": {"discriminator": WeightClip()}} if "constraints" in why else {}
    with pytest.raises(UserError) as error:
        check_freeze(tiny.game(freeze=tuple(freeze), **clip))
    assert why in str(error.value)
