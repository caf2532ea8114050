"""Games with encoders: their networks' sizes, the terms of their losses against closed forms, and codes of images."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from ganlab.data.read.open import open_data
from ganlab.engine.batch import Batch
from ganlab.engine.runtime import Runtime
from ganlab.models import ALI, AVB, DCGAN, VAE, VAEGAN, AdversarialAutoencoder, BiGAN, ShapedAutoencoder
from ganlab.models.autoencoding import divergence, reparametrized
from ganlab.models.distances import cross_entropy
from ganlab.networks.avb import SHARP, AdaptiveEncoder
from ganlab.priors import Coded, Mixture, SwissRoll, Uniform
from ganlab.priors import Normal as NormalPrior
from ganlab.seeding import Noise, seed_everything
from ganlab.types import ImageSpec, UserError

MNIST, CIFAR, CELEBA, SMALL = ImageSpec(28, 28, 1), ImageSpec(32, 32, 3), ImageSpec(64, 64, 3), ImageSpec(16, 16, 1)


@pytest.mark.parametrize(
    ("game", "image", "counts"),
    [
        (BiGAN, MNIST, {"generator": 1_953_792, "encoder": 1_902_592, "discriminator": 1_903_616}),
        (ALI, CIFAR, {"generator": 981_152, "encoder": 3_118_496, "discriminator": 2_611_009}),
        (AdversarialAutoencoder, MNIST, {"encoder": 1_794_008, "decoder": 1_794_784, "critic": 1_011_001}),
        (VAEGAN, CELEBA, {"encoder": 18_071_360, "decoder": 4_693_155, "discriminator": 10_953_857}),
    ],
)
def test_the_networks_have_the_papers_sizes(game, image, counts):
    with torch.device("meta"):
        networks = game(image=image).networks
    assert {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()} == counts


# --- priors


@pytest.mark.parametrize(
    ("prior", "mean_square"),
    [
        (NormalPrior(dims=3, std=2.0), 4.0 * 3),
        (Uniform(dims=3), 3 / 3),
        (Uniform(dims=3, low=0.0), 3 / 3),
        (Coded(noise=3, categories=4, continuous=2), 5 / 3 + 1),
        (Mixture(radius=2.0), 2.0**2 + 0.5**2 + 0.1**2),
        (SwissRoll(radius=3.0), 3.0**2 / 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_prior_has_its_second_moment_and_no_blocks(prior, mean_square):
    codes = prior.draw("codes", 20_000, Noise(3, 0, group=4))
    assert codes.shape == (20_000, prior.dims)
    assert codes.square().sum(1).mean().item() == pytest.approx(mean_square, rel=0.03)
    assert torch.equal(codes[400:404], prior.draw("codes", 4, Noise(3, 0, 400, group=4)))


def test_only_standard_normal_codes_are_truncated():
    latents = torch.tensor([[0.1, -3.0], [0.7, 0.2]])
    wide = NormalPrior(dims=2, std=5.0)
    for model in (VAE(image=SMALL, width=8, latent=2), AdversarialAutoencoder(image=SMALL, width=8)):
        cut = model.redrawn(latents, 0.5, Noise(0, 0), "sample")
        assert cut.abs().max() <= 0.5 and torch.equal(cut[latents.abs() <= 0.5], latents[latents.abs() <= 0.5])
    for other in (BiGAN(image=SMALL, width=8), AdversarialAutoencoder(image=SMALL, width=8, prior=wide)):
        with pytest.raises(UserError, match="are not all standard normal"):
            other.redrawn(latents, 0.5, Noise(0, 0), "sample")


def test_the_components_of_a_mixture_lie_on_rays():
    codes = Mixture(modes=10, std=(0.3, 1e-6)).draw("codes", 4000, Noise(3, 0)).double()
    ray = torch.atan2(codes[:, 1], codes[:, 0]) * 10 / (2 * math.pi)
    assert (ray - ray.round()).abs().max() < 1e-4
    assert ray.round().long().remainder(10).bincount().min() > 300


def test_a_swiss_roll_turns_twice_and_is_uniform_in_its_area():
    codes = SwissRoll(turns=2.0, radius=1.0).draw("codes", 4000, Noise(3, 0)).double()
    radius = codes.norm(dim=1)
    turn = torch.stack([radius * (4 * math.pi * radius).cos(), radius * (4 * math.pi * radius).sin()], 1)
    assert torch.allclose(codes, turn, atol=1e-5)
    assert (radius < 0.5).double().mean().item() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("prior", [Mixture(modes=3, std=(0.3, 1e-6)), SwissRoll(parts=3)], ids=["mixture", "roll"])
def test_each_class_has_its_part_of_a_prior_and_no_class_has_all(prior):
    game = ShapedAutoencoder(image=ImageSpec(4, 4, 1, 3), width=8, prior=prior)
    labels = torch.tensor([0, 1, 2, -1]).repeat(1000)
    codes = game.draw("critic", len(labels), Noise(3, 0), labels)["latents"].double()
    if isinstance(prior, Mixture):
        found = (torch.atan2(codes[:, 1], codes[:, 0]) * 3 / (2 * math.pi)).round().remainder(3)
    else:  # thirds of the area, from the middle outwards
        found = ((codes.norm(dim=1) / prior.radius) ** 2 * 3).clamp(max=2.9).floor()
    known = labels >= 0
    assert torch.equal(found[known], labels[known].double())
    assert found[~known].long().bincount(minlength=3).min() > 270


def test_the_shaping_critic_is_told_the_class_or_that_there_is_none():
    game = ShapedAutoencoder(image=ImageSpec(4, 4, 1, 3), width=8, prior=Mixture(modes=3))
    linear = nn.Linear(6, 1, bias=False)
    linear.weight.data.copy_(torch.tensor([[0.1, 0.01, 1.0, 2.0, 4.0, 8.0]]))
    game.critic = nn.Sequential(linear, nn.Flatten(0))
    found = game.verdict(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), Batch({"labels": torch.tensor([2, -1])}))
    assert found.tolist() == pytest.approx([4.12, 8.34])


@pytest.mark.parametrize("prior", [NormalPrior(dims=2), Mixture(modes=4)])
def test_a_prior_without_a_part_for_each_class_is_refused(prior):
    with pytest.raises(UserError, match=r"model.prior: .*the data have 3 classes.*Mixture with modes: 3"):
        ShapedAutoencoder(image=ImageSpec(4, 4, 1, 3), prior=prior)


# --- terms of losses


def test_the_terms_of_a_vae_are_those_of_its_distributions():
    draw = torch.Generator().manual_seed(0)
    mean, log_variance, noise = torch.randn(3, 5, 4, generator=draw, dtype=torch.float64)
    q = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(1)
    assert torch.allclose(divergence(mean, log_variance), expected, atol=1e-12)
    codes = reparametrized(mean, log_variance, noise)
    assert torch.allclose(q.log_prob(codes), Normal(0.0, 1.0).log_prob(noise) - log_variance / 2, atol=1e-12)


def test_a_cross_entropy_is_minus_the_log_likelihood_of_the_pixels():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 2, 3, 3, generator=draw, dtype=torch.float64)
    pixels = torch.randint(2, logits.shape, generator=draw).double()
    expected = -Bernoulli(logits=logits).log_prob(pixels).sum((1, 2, 3))
    assert torch.allclose(cross_entropy(logits, 2 * pixels - 1), expected, atol=1e-12)


class NormalEncoder(nn.Module):
    """q(z | x) = N(mean(x), variance), which is also the r(z | x) that it gives."""

    noise = 3

    def __init__(self):
        super().__init__()
        self.mean = nn.Linear(16, 3)
        self.log_variance = nn.Parameter(torch.tensor([-1.0, 0.5, 0.2]))

    def forward(self, images, noise):
        mean, variance = self.mean(images.flatten(1)), self.log_variance.exp()
        return mean + variance.sqrt() * noise, mean, variance.expand_as(mean)


class Zero(nn.Module):
    """The optimal critic where q and r are the same."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, images, codes):
        return self.weight * codes.sum(1)


def test_with_an_adaptive_contrast_that_is_the_posterior_the_divergence_is_exact():
    seed_everything(1)
    image = ImageSpec(4, 4, 1)
    game = AVB(
        image=image, latent=3, encoder=NormalEncoder(), critic=Zero(), runtime=Runtime(precision="fp64", group=4)
    )
    images = torch.rand(1, 1, 4, 4, dtype=torch.float64).expand(40_000, -1, -1, -1)
    noise = torch.randn(40_000, 3, dtype=torch.float64)
    _, terms = game.autoencoder_loss(Batch({"real": images, "noise": noise}))
    mean, log_variance = game.encoder.mean(images[:1].flatten(1)), game.encoder.log_variance[None]
    found, error = terms["divergence"].mean().item(), terms["divergence"].std().item() / 200
    assert abs(found - divergence(mean, log_variance).item()) < 4 * error < 0.1


def test_adaptive_moments_are_those_of_a_group():
    seed_everything(1)
    encoder = AdaptiveEncoder(image=SMALL, width=8, latent=3, noise=12, bases=4, group=5).double()
    images, noise = torch.rand(10, 1, 16, 16).double(), torch.randn(10, 12).double()
    codes, mean, variance = encoder(images, noise)
    for sample in range(10):
        first = sample // 5 * 5  # the codes of this image with the noise of each sample of its group
        here = encoder.codes(images[sample].expand(5, 1, 16, 16), noise[first : first + 5])
        assert torch.allclose(here[sample - first], codes[sample], atol=1e-12)
        assert torch.allclose(here.mean(0), mean[sample], atol=1e-12)
    _, scales, vectors = encoder.parts(images, noise)
    expected = torch.zeros(10, 3).double()  # the bases are independent: their variances add up
    for sample, base in product(range(10), range(4)):
        group = vectors[sample // 5 * 5 :][:5, base]
        expected[sample] += scales[sample, base] ** 2 * (group - group.mean(0)).square().mean(0)
    assert torch.allclose(variance, expected + SHARP, atol=1e-12)


# --- VAE/GAN's gate


@pytest.mark.parametrize(
    ("real_cost", "fake_cost", "discriminator", "decoder"),
    [
        (0.7, 0.7, False, False),
        (0.2, 0.7, True, False),
        (0.7, 0.2, True, False),
        (0.7, 1.2, False, True),
        (0.2, 1.2, False, False),  # both gates would close: then neither does
    ],
)
def test_the_gate_holds_back_who_is_too_far_ahead(real_cost, fake_cost, discriminator, decoder):
    game = VAEGAN(image=SMALL, width=8)
    found = {"real_cost": torch.full((4,), real_cost), "fake_cost": torch.full((4,), fake_cost)}
    skipped = {name: game.skips(name, found) for name in game.players}
    assert skipped["encoder"] is None
    assert [bool(skipped[name]) for name in ("discriminator", "decoder")] == [discriminator, decoder]


# --- codes


@pytest.mark.parametrize("game", [BiGAN, VAE])
def test_codes_are_the_averaged_encoders_for_bytes_and_floats(game):
    seed_everything(0)
    model = game(image=SMALL, width=8).eval()
    pixels = torch.randint(256, (6, 1, 16, 16), dtype=torch.uint8)
    codes = model.encode(pixels)
    assert codes.shape == (6, model.latent) and not codes.requires_grad
    assert torch.equal(codes, model.encode(pixels / 127.5 - 1))
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    assert torch.equal(codes, model.encode(pixels))


def test_a_code_of_avb_is_one_draw_and_the_same_every_time():
    seed_everything(0)
    model = AVB(image=SMALL).eval()
    pixels = torch.randint(256, (6, 1, 16, 16), dtype=torch.uint8)
    assert torch.equal(model.encode(pixels), model.encode(pixels))
    assert model.sample(3).shape == (3, 1, 16, 16)


def test_a_game_without_an_encoder_says_so():
    with pytest.raises(UserError, match="a DCGAN has no encoder"):
        DCGAN(image=SMALL, width=8).encode(torch.zeros(1, 1, 16, 16))


def test_the_corners_are_one_hot_points():
    dataset = open_data("toy:corners?count=3")
    places = dataset.places(np.arange(300), 1)
    points = np.stack([place.pixels[0, 0] for place in places])
    assert (points == 2 * np.eye(3)[[place.label for place in places]] - 1).all()
    assert np.bincount([place.label for place in places]).min() > 70
