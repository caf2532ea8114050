"""Runs of games that read more than reals and labels: a second stream, vectors, crops, and data that are drawn.

The games are named in configs as `test_more_data.<class>`, with `--trust test_more_data`.
"""

from functools import partial

import numpy as np
import pytest
import tiny_runs as runs
import torch
from PIL import Image
from tiny import distance
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam

import ganlab
from ganlab.data import ShardData
from ganlab.data.make.vectors import add_vectors
from ganlab.engine.averages import HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.loop import fit
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.engine.signals import Signals
from ganlab.engine.state import seat, state_of
from ganlab.evaluation.images import open_images
from ganlab.experiment.build import build_model, open_dataset, open_other
from ganlab.experiment.checks import with_facts
from ganlab.experiment.config import load
from ganlab.experiment.frame import FREE_ON_RESUME
from ganlab.types import ImageSpec, Latents

ADAM = partial(Adam, lr=1e-2, betas=(0.5, 0.99))


class Maker(nn.Module):
    """Latents to images."""

    latent, classes = 3, 0

    def __init__(self, *, image: ImageSpec) -> None:
        super().__init__()
        self.shape = image.channels, image.height, image.width
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Softplus(), nn.Linear(8, int(np.prod(self.shape))), nn.Tanh())

    def forward(self, latents: Latents, labels: Tensor | None = None) -> Tensor:
        return self.layers(latents).unflatten(1, self.shape)


class Scorer(nn.Module):
    """Everything side by side to logits."""

    classes = 0

    def __init__(self, *, image: ImageSpec, more: int = 0) -> None:
        super().__init__()
        inputs = image.channels * image.height * image.width + more
        self.layers = nn.Sequential(nn.Linear(inputs, 8), nn.Softplus(), nn.Linear(8, 1))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.layers(torch.cat([each.flatten(1).to(inputs[0].dtype) for each in inputs], 1))[:, 0]


class PointScorer(Scorer):
    """Of images alone."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(images)


class Beside(Game):
    """The discriminator sees the other stream's image and label, and the vector, beside each image."""

    def __init__(self, *, image: ImageSpec, runtime: Runtime = Runtime()) -> None:
        other = runtime.other
        more = (other.channels * other.height * other.width + 1 if other else 0) + runtime.vectors
        networks = {"generator": Maker(image=image), "discriminator": Scorer(image=image, more=more)}
        super().__init__(
            image=image,
            networks=networks,
            players={name: Player(name, optimizer=ADAM) for name in ("discriminator", "generator")},
            averages={"generator": HalfLife(50.0)},
            runtime=runtime,
        )

    def score(self, images: Tensor, batch: Batch) -> Tensor:
        scores: Tensor = self.call(self.discriminator, images, batch.other, batch.other_labels[:, None], batch.vectors)
        return scores

    def discriminator_loss(self, batch: Batch) -> Loss:
        fake = self.call(self.generator, batch.latents).detach()
        return {"loss": softplus(-self.score(batch.real, batch)) + softplus(self.score(fake, batch))}

    def generator_loss(self, batch: Batch) -> Loss:
        return {"loss": softplus(-self.score(self.call(self.generator, batch.latents), batch))}


COMMON = """
train: {{batch: 8, group: 2, total_nimg: 64, tick_nimg: 16, sample_every_nimg: 64, checkpoint_every_nimg: 32}}
machine: {{device: cpu, threads: 1, decode_threads: 1}}
logging: {{wandb: disabled}}
"""
POINTS = """
model:
  _target_: ganlab.models.GANModule
  generator: {{_target_: test_more_data.Maker}}
  discriminator: {{_target_: test_more_data.PointScorer}}
  objective: {{_target_: ganlab.objectives.NonSaturating}}
  optimizers:
    generator: {{_target_: torch.optim.Adam, lr: 0.01}}
    discriminator: {{_target_: torch.optim.Adam, lr: 0.01}}
data: {{url: "toy:ring?modes=5&samples=40"}}
"""
BESIDE = """
model: {{_target_: test_more_data.Beside}}
data: {{url: "{url}", crop: 12, mirror: true, other: {{url: "toy:digits?size=10&channels=1", labelled: 2, crop: 8}}}}
"""
TRUST = ("--trust", "test_more_data")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Images of noise of 16 px with vectors of 3."""
    folder = runs.pack_noise(tmp_path_factory.mktemp("noise"), classes=2, images=40)
    np.save(folder.parent / "v.npy", np.random.default_rng(0).normal(size=(40, 3)))
    add_vectors(folder, folder.parent / "v.npy")
    return folder


@pytest.fixture(params=["points", "beside"])
def config(request, url, tmp_path):
    path = tmp_path / f"{request.param}.yaml"
    path.write_text((POINTS if request.param == "points" else BESIDE).format(url=url) + COMMON.format())
    return path


def play(path, total_nimg, saved=None):
    """Train as `ganlab train` does, without its tasks; return the model's part of a checkpoint."""
    config = load(path, (), None, TRUST[1:])
    dataset, other = open_dataset(config), open_other(config)
    config = with_facts(config, dataset, other)
    model = build_model(config)
    data = ShardData(dataset, batch=8, mirror=config.data.mirror, other=other, threads=1)
    seat(model, torch.device("cpu"), saved, shard=False)
    loader = data.loader(model, torch.device("cpu"))
    fit(model, loader, Signals(), total_nimg=total_nimg, tasks=[])
    return state_of(model)


@pytest.mark.slow
def test_a_run_in_two_parts_equals_the_run_in_one(config):
    whole, half = play(config, 64), play(config, 32)
    assert half["ganlab"]["clock"]["nimg"] == 32 and distance(whole["state_dict"], half["state_dict"]) > 1e-3
    assert distance(whole["state_dict"], play(config, 64, half)["state_dict"]) == 0


@pytest.mark.parametrize("config", ["points"], indirect=True)
def test_points_are_shown_and_sampled(config, tmp_path):
    runs.done(config, *TRUST, f"run={tmp_path / 'run'}", "train.total_nimg=16")
    with Image.open(tmp_path / "run" / "samples" / "nimg-000000000016.png") as picture:
        assert picture.size == (512, 512) and len(picture.getcolors(2**18)) > 50
    assert ganlab.load(tmp_path / "run", TRUST[1:]).sample(5).shape == (5, 2, 1, 1)


def test_a_config_is_shown_with_what_its_data_are(config):
    said = runs.ganlab("show", config, *TRUST).output
    if config.stem == "points":
        assert "# images: 1x1, 2 channels, 5 classes, 40 of them" in said
    else:
        assert "# images: 12x12, 1 channel, 2 classes, 40 of them" in said and "\n  vectors: 3\n" in said
        assert "    image:\n      height: 8\n      width: 8\n      channels: 1\n      classes: 10\n" in said
        assert f"{8 * (12 * 12 + 8 * 8 + 1 + 3 + 1):,}" in said  # the first layer's weights


@pytest.mark.parametrize("config", ["beside"], indirect=True)
def test_other_data_are_another_run(config, tmp_path, url):
    """Another second stream changes the fingerprint, and what a game reads must be there."""
    run = f"run={tmp_path / 'run'}"
    runs.done(config, *TRUST, run, "train.total_nimg=16")
    said = runs.refused("train", config, *TRUST, run, "data.other.url=toy:digits?size=10&channels=1&seed=1")
    assert "data.fingerprint" in said and "data.other" not in said and FREE_ON_RESUME.match("data.other.url")
    assert "data.other.mirror: false in the checkpoint, true now" in runs.refused(
        "train", config, *TRUST, run, "data.other.mirror=true"
    )
    assert "but data.vectors is 4" in runs.refused("train", config, *TRUST, "data.vectors=4")
    said = runs.refused("show", config, *TRUST, "data.other.image={height: 9, width: 9, channels: 1, classes: 10}")
    assert "its images are 8x8, 1 channel, 10 classes, but the config declares data.other.image as 9x9" in said
    said = runs.refused("train", config, *TRUST, "data.other=null", f"run={tmp_path / 'none'}")
    assert said.startswith("batch.other: this step has none, only real, labels, vectors, latents")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("config", ["beside"], indirect=True)
def test_reals_of_an_evaluation_are_those_that_the_game_sees(config, url):
    """Crops of the run's own data, whole images of others; toys."""
    data = load(config, (), None, TRUST[1:]).data
    own, same, others = open_images(data.url, None, data), open_images(data.url, None, data), open_images(str(url), 7)
    assert own.block(0)[0].shape == (40, 1, 12, 12) and torch.equal(own.block(0)[0], same.block(0)[0])
    assert others.block(0)[0].shape == (7, 1, 16, 16) and own.fingerprint != others.fingerprint
    digits = open_images("toy:digits?size=10&channels=1", 3, data)
    assert digits.block(0)[0].shape == (3, 1, 10, 10) and digits.classes == 10
    points, labels = open_images("toy:ring", 3, data).block(0)
    assert points.shape == (3, 2, 1, 1) and points.dtype == torch.float32 and labels.shape == (3,)
