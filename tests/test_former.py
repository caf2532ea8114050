"""What the first edition left on disks: its runs are sampled, exported and resumed, and its exports are loaded."""

import shutil

import pytest
import tiny_runs as runs
import torch
import yaml
from repository import REPOSITORY
from safetensors.torch import load_file

import ganlab
from ganlab.data.make.pack import pack
from ganlab.experiment.checkpoints import read
from ganlab.experiment.config import from_saved, from_yaml, saved_values
from ganlab.experiment.former import upgrade

FORMER = REPOSITORY / "tests" / "former"
RUNS = ["dcgan", "progressive", "sngan"]


@pytest.fixture
def former(tmp_path, monkeypatch):
    """A copy of everything, in the folder where it was made."""
    folder = shutil.copytree(FORMER, tmp_path / "former")
    pack(folder / "source.npz", folder / "shards", size=16, shard_samples=100)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_to_the_weights_that_it_had(former, name):
    said = runs.done(f"{name}.yaml", f"run={name}")
    assert "resuming from nimg-000000000192.ckpt" in said
    state = read(former / name / "checkpoints" / "nimg-000000000384.ckpt")["state_dict"]
    expected = load_file(former / name / "nimg-384.safetensors")
    exported = former / f"{name}-exported" / "generator.safetensors"
    if exported.exists():
        expected |= {f"ema.{key}": tensor for key, tensor in load_file(exported).items()}
    assert expected.keys() <= state.keys() and {key.split(".")[0] for key in expected} >= {"generator", "discriminator"}
    for key, tensor in expected.items():
        torch.testing.assert_close(state[key], tensor, rtol=0, atol=1e-8, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_the_config_of_a_run_is_a_config(former, name):
    assert "resuming from nimg-000000000192.ckpt" in runs.done(f"{name}/config.yaml")


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_sampled_and_exported(former, name):
    images = ganlab.load(name).sample(8, seed=1)
    assert images.shape == (8, 1, 16, 16) and len(images.unique(dim=0)) == 8
    assert runs.ganlab("sample", name, "-n", 4).exit_code == 0
    assert runs.ganlab("export", name, "--out", "anew").exit_code == 0
    assert torch.equal(ganlab.load("anew").sample(8, seed=1), images)


@pytest.mark.parametrize("name", ["progressive", "sngan"])
def test_an_export_is_loaded(former, name):
    images = ganlab.load(f"{name}-exported").sample(8, seed=1)
    assert images.shape == (8, 1, 16, 16) and len(images.unique(dim=0)) == 8


def model_of(model):
    """What a saved model of the first edition is today."""
    values = {"model": model, "data": {"url": "d"}, "train": {"total_nimg": 1000, "batch": 16}, "run": "r", "seed": 0}
    config = from_saved({**values, "trust": []}, "here")
    assert saved_values(values) == config.as_dict()
    return config.model


def test_every_key_of_a_saved_config_has_its_name_of_today():
    path = FORMER / "sngan" / "config.yaml"
    config = from_yaml(path)
    assert (config.model["lr"], config.model["discriminator_steps"], config.train.group) == (1e-4, 2, 4)
    assert config.model["lr_schedule"]["until_nimg"] == 384
    again = upgrade(config.as_dict(), (), "here")
    assert again == config.as_dict()  # what is of today stays as it is


def test_a_group_of_the_model_is_the_runs():
    values = {"model": {"_target_": "ganlab.models.DCGAN", "group": 8}, "data": {"url": "d"}, "run": "r"}
    config = from_saved({**values, "train": {"total_nimg": 9, "batch": 64}}, "here")
    assert config.train.group == 8 and "group" not in config.model


R1 = {"_target_": "ganlab.regularizers.R1", "weight": 1.0}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"gradient_penalty", "drift"}),
        ({"regularizers": None}, {"gradient_penalty", "drift"}),
        ({"regularizers": {}}, set()),
        ({"regularizers": {"r1": R1}}, {"r1"}),
        ({"regularizers": {"drift": {"_target_": "ganlab.regularizers.Drift", "weight": 1.0}}}, {"drift"}),
    ],
)
def test_regularizers_that_were_given_replaced_the_papers(given, expected):
    model = model_of({"_target_": "ganlab.models.ProgressiveGAN", **given})
    assert {name for name, part in model["regularizers"].items() if part is not None} == expected


def test_null_stood_for_the_papers_own():
    given = dict.fromkeys(("objective", "batches", "rate_factors", "optimizers", "regularizers"))
    assert model_of({"_target_": "ganlab.models.ProgressiveGAN", **given}) == model_of(
        {"_target_": "ganlab.models.ProgressiveGAN"}
    )
    assert model_of({"_target_": "ganlab.models.ProgressiveGAN", "rate_factors": {}})["lr_factors"] == {"4": 1.0}


@pytest.mark.parametrize("given", [{}, {"rate_schedule": None}])
@pytest.mark.parametrize("name", ["SNGAN", "ProjectionGAN"])
def test_the_learning_rate_of_sngan_ended_at_16_million_images(name, given):
    assert model_of({"_target_": f"ganlab.models.{name}", **given})["lr_schedule"]["until_nimg"] == 16_000_000


def test_a_learning_rate_beside_optimizers_meant_nothing():
    adam = {"_target_": "torch.optim.Adam", "lr": 1e-3}
    model = model_of(
        {"_target_": "ganlab.models.DCGAN", "rate": 5.0, "optimizers": {"generator": adam, "discriminator": adam}}
    )
    assert "lr" not in model and "betas" not in model


@pytest.mark.slow
def test_a_run_keeps_the_average_that_it_began_with(tmp_path, dataset):
    config, run = runs.write_config(tmp_path, dataset), tmp_path / "run"
    shown = yaml.safe_load(runs.ganlab("show", config).stdout.split("# images")[0])["model"]["ema_half_life"]
    assert (shown["_target_"], shown["start"], shown["end"]) == ("ganlab.schedules.Linear", 0.0, 10_000.0)
    runs.done(config, f"run={run}", "train.total_nimg=48", "model.ema_half_life=10_000")  # the default until now
    for total in (96, 144):
        assert "resuming" in runs.done(config, f"run={run}", f"train.total_nimg={total}")
        assert from_yaml(run / "config.yaml").model["ema_half_life"] == 10_000.0
    allowed = ["train.total_nimg=192", "--allow-change", "model.ema_half_life*"]
    assert "resuming" in runs.done(config, f"run={run}", *allowed)
    assert from_yaml(run / "config.yaml").model["ema_half_life"] == shown
    assert "is of another config:\n  model.ema_half_life" in runs.refused(
        "train", config, f"run={run}", "train.total_nimg=240", "model.ema_half_life=10_000"
    )
