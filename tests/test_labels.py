"""Games that read codes and classes of images: InfoGAN, AC-GAN, K + 1 classes, DANN."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import tiny_runs as runs
import torch
from repository import REPOSITORY
from torch.autograd import grad

import ganlab
from ganlab.data.read.open import open_data
from ganlab.engine.runtime import Runtime
from ganlab.experiment.build import build_model
from ganlab.experiment.config import from_yaml, load, to_yaml
from ganlab.models import ACGAN, DANN, InfoGAN, SemiSupervisedGAN
from ganlab.models.dann import reversed_gradient
from ganlab.networks import dann, infogan, semisupervised
from ganlab.portable.parcel import kept
from ganlab.schedules import InverseDecay, Saturating
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")
MNIST, TINY = ImageSpec(28, 28, 1, 10), ImageSpec(16, 16, 1, 3)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_networks_for_mnist_have_the_papers_numbers_of_parameters():
    with torch.device("meta"):
        guesses = infogan.Discriminator(image=MNIST, guesses=14)
        assert parameters(infogan.Generator(image=MNIST, latent=74)) == 6_652_481
        assert [*map(parameters, (guesses.trunk, guesses.logit, guesses.code))] == [6_558_144, 1_025, 133_262]
        units = [784, 1000, 500, 250, 250, 250, 10]
        weights = sum(a * b for a, b in pairwise(units))
        assert parameters(semisupervised.Classifier(image=MNIST, classes=10)) == weights + 2 * sum(units[1:])
        assert parameters(semisupervised.Generator(image=MNIST)) == 100 * 500 + 500 * 500 + 500 * 784 + 1000 + 2 * 784
        classifier = dann.Classifier(image=MNIST, classes=10)
    convolutions = 25 * 32 + 32 + 25 * 32 * 48 + 48
    assert classifier.dims == 768
    assert parameters(classifier) == convolutions + 769 * 100 + 101 * 100 + 101 * 10


# --- InfoGAN


@pytest.fixture(scope="module")
def codes():
    """An InfoGAN with three categories, whose grid has three columns."""
    return InfoGAN(image=TINY, noise=4, categories=3, continuous=2, width=2)


def test_in_a_grid_of_samples_a_row_shares_all_but_the_category(codes):
    latents = torch.cat([codes.draw_latents(64, Noise(7, 0, start), "sample")[0] for start in (0, 64)])
    free, category, code = latents.split((4, 3, 2), 1)
    assert category.argmax(1).tolist() == [i % 3 for i in range(128)]
    rest = torch.cat([free, code], 1)
    for row in (0, 7, 21):  # 21 lies in both blocks
        assert torch.equal(rest[3 * row], rest[3 * row + 1]) and torch.equal(rest[3 * row], rest[3 * row + 2])
    assert len(rest.unique(dim=0)) == 43 and rest.min() >= -1 and rest.max() < 1
    assert codes.columns == 3 and torch.equal(codes.sample([5, 70], seed=7), codes.sample(71, seed=7)[[5, 70]])


def test_categories_of_training_are_uniform(codes):
    latents, labels = codes.draw_latents(3000, Noise(1, 0), "generator")
    counts = Counter(latents[:, 4:7].argmax(1).tolist())
    assert all(abs(counts[k] - 1000) < 100 for k in range(3)) and labels.unique().tolist() == [-1]
    assert not codes.conditional  # whatever the data's labels are


def test_the_bound_is_the_entropy_less_the_surprise(codes):
    latents, _ = codes.draw_latents(6, Noise(1, 0), "generator")
    _, category, code = latents.split((4, 3, 2), 1)
    sure = torch.cat([50 * category, code, code], 1)
    loss, found = codes.code_loss(latents, sure)
    assert torch.allclose(loss, torch.zeros(6), atol=1e-6)
    assert torch.allclose(found["information"], torch.tensor(3.0).log())
    unsure = torch.cat([0 * category, code + 1, code], 1)
    loss, found = codes.code_loss(latents, unsure)
    assert torch.allclose(loss, torch.tensor(3.0).log() + 1.0) and found["information"].abs().max() < 1e-6


# --- DANN


def test_a_reversed_gradient_keeps_the_value():
    features, factor = torch.randn(5, 3, dtype=torch.float64, requires_grad=True), torch.rand(5, dtype=torch.float64)
    outputs = reversed_gradient(features, factor)
    assert torch.allclose(outputs, features, rtol=1e-12)
    (slope,) = grad((outputs * features.detach()).sum(), features)
    assert torch.allclose(slope, -factor[:, None] * features, rtol=1e-12)


def test_schedules_of_the_share_of_a_run():
    strength, rate = Saturating(total_nimg=1000), InverseDecay(total_nimg=1000)
    for nimg in (0, 130, 1000):
        p = nimg / 1000
        assert strength(nimg) == pytest.approx(2 / (1 + np.exp(-10 * p)) - 1)
        assert rate(nimg) == pytest.approx((1 + 10 * p) ** -0.75)
    assert strength(2000) == strength(1000)
    with pytest.raises(UserError, match="total_nimg: null"):
        Saturating()(3)


def test_a_texture_is_subtracted():
    plain, textured = (open_data(f"toy:digits?size=28&channels=1{more}") for more in ("", "&texture=1"))
    pictures = np.empty((2, 28, 28, 1), np.uint8)
    for number in range(20):
        labels = {plain.read(number, pictures[0]), textured.read(number, pictures[1])}
        assert len(labels) == 1
        digit = pictures[0] > 0
        assert pictures[1][~digit].std() > 10 and len(np.unique(pictures[1][~digit])) > 20


# --- classifiers


@pytest.mark.parametrize("kind", [SemiSupervisedGAN, DANN])
def test_classify_gives_probabilities_by_the_average(kind):
    width = {"width": 8} if kind is DANN else {"width": 16}
    model = kind(image=TINY, **width, runtime=Runtime(other=TINY)).eval()
    pixels = torch.randint(256, (6, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = model.classify(pixels)
    assert found.shape == (6, 3) and torch.allclose(found.sum(1), torch.ones(6)) and found.std(0).min() > 0
    assert torch.allclose(found, model.classify(pixels / 127.5 - 1), atol=1e-6)
    for name in ("classifier", "discriminator"):
        for parameter in getattr(model, name, torch.nn.Module()).parameters():
            parameter.data.zero_()
    assert torch.equal(model.classify(pixels), found)


# --- runs


RUN = """
model: {{_target_: ganlab.models.{model}, width: 8}}
data: {{url: "{url}"{other}}}
train: {{batch: 16, total_nimg: 64, tick_nimg: 32, sample_every_nimg: 32, checkpoint_every_nimg: 64}}
machine: {{device: cpu, threads: 1, decode_threads: 1}}
logging: {{wandb: disabled}}
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """96 images of 3 classes."""
    return runs.pack_noise(tmp_path_factory.mktemp("labels"), classes=3, images=96)


def write(folder, model, url, other=""):
    path = folder / "config.yaml"
    path.write_text(RUN.format(model=model, url=url, other=other))
    return path


@pytest.mark.slow
def test_runs_say_how_many_images_have_a_class(tmp_path, shards):
    run = tmp_path / "run"
    few = write(tmp_path, "SemiSupervisedGAN", shards, f', other: {{url: "{shards}", labelled: 2}}')
    assert f"{shards}: 6 of 6 images have a class" in runs.done(few, f"run={run}")
    model = ganlab.load(run)
    assert isinstance(model, SemiSupervisedGAN) and model.classify(model.sample(4)).shape == (4, 3)
    adapting = write(tmp_path, "DANN", shards, f', other: {{url: "{shards}"}}')
    assert f"{shards}: 96 of 96 images have a class" in runs.done(adapting, f"run={tmp_path / 'dann'}")
    assert not list((tmp_path / "dann" / "samples").glob("*.png"))
    assert "DANN: makes no images" in runs.refused("sample", tmp_path / "dann", "-n", 4)


def test_what_labels_need_is_asked_for(tmp_path, shards):
    with pytest.raises(UserError, match=r"data\.url: its images have no classes"):
        ACGAN(image=ImageSpec(16, 16, 1))
    with pytest.raises(UserError, match=r"data\.other\.url: its images have no classes"):
        SemiSupervisedGAN(image=TINY, runtime=Runtime(other=ImageSpec(16, 16, 1)))
    with pytest.raises(UserError, match=r"data\.other: its images, the target domain, are 32x32"):
        DANN(image=TINY, runtime=Runtime(other=ImageSpec(32, 32, 1)))
    with pytest.raises(UserError, match=r"train\.micro_batch: 4, but the loss compares all"):
        SemiSupervisedGAN(image=TINY, runtime=Runtime(other=TINY, micro_batch=4))
    with pytest.raises(UserError, match=r"multiples of 4 px, not 18x16.*--size 20x16"):
        InfoGAN(image=ImageSpec(18, 16, 1))
    alone = write(tmp_path, "SemiSupervisedGAN", shards)
    said = runs.refused("train", alone, f"run={tmp_path / 'run'}")
    assert "data.other: none, but this model takes the labelled images from there" in said
    assert not (tmp_path / "run").exists()


def test_an_exported_model_knows_the_other_stream_that_it_was_built_for(tmp_path):
    """But not where it lay."""
    config = load(REPOSITORY / "configs" / "digits" / "semisupervised.yaml")
    (tmp_path / "config.yaml").write_text(to_yaml(kept(config)))
    assert "data/digits" not in (tmp_path / "config.yaml").read_text()
    assert build_model(from_yaml(tmp_path / "config.yaml")).runtime.other == config.data.other.image
