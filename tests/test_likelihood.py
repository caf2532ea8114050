"""Densities: Real NVP against autograd and closed forms, annealed importance sampling and the birthday test."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from ganlab.metrics.birthday import closest_pairs, support_size
from ganlab.metrics.likelihood import _transition, annealed_log_likelihood, bits_per_dimension
from ganlab.networks.realnvp import ALPHA, Generator
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def flow(height=8, width=8, channels=2, scale=0.2):
    """A network in float64 whose couplings do something."""
    torch.manual_seed(0)
    network = Generator(image=ImageSpec(height, width, channels), width=4, blocks=1).double()
    for parameter in network.parameters() if scale else ():
        torch.nn.init.normal_(parameter, 0, scale)
    return network


def images(n, height=8, width=8, channels=2):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(1)).double() * 1.9 - 0.95


@pytest.mark.parametrize("size", [(4, 4), (8, 16), (16, 16)])
def test_images_come_back_from_their_latents(size):
    network, real = flow(*size), images(3, *size)
    latents, _ = network.encode(real)
    assert latents.shape == (3, network.latent) and (latents.std(0) > 0).all()
    again = network(latents, torch.full((3,), -1))
    assert (again - real).abs().max() < 1e-10
    network = flow(*size, scale=0.1).float()
    latents, _ = network.encode(real.float())
    assert (network(latents, torch.full((3,), -1)) - real).abs().max() < 1e-5


def test_the_log_determinant_is_that_of_autograd():
    network, real = flow(4, 8, 1), images(2, 4, 8, 1)
    _, found = network.encode(real)
    for image, ours in zip(real, found, strict=True):
        jacobian = torch.func.jacrev(lambda x: network.encode(x[None])[0][0])(image).reshape(32, 32)
        assert ours.item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), rel=1e-10)


def test_at_the_start_pixels_are_the_logistic_of_a_gaussian():
    """Every coupling is the identity: the density of one level is a closed form, and integrates to 1."""
    network, real = flow(scale=0), images(2)
    level = ALPHA + (1 - 2 * ALPHA) * (real.numpy() + 1) / 2
    slope = (1 - 2 * ALPHA) / 2 / (level * (1 - level))
    wanted = np.log(stats.norm.pdf(np.log(level / (1 - level))) * slope).sum((1, 2, 3))
    assert network.log_prob(real).detach().numpy() == pytest.approx(wanted, rel=1e-12)
    bits = bits_per_dimension(torch.full((1,), -128 * math.log(2.0)), torch.zeros(1, 2, 8, 8))
    assert bits.item() == pytest.approx(8.0)  # a density of 1/2 everywhere in [-1, 1]


def test_sizes_that_do_not_halve_down_to_4_px_are_refused():
    for size in ((12, 12), (2, 2), (8, 9)):
        with pytest.raises(UserError, match=r"their shorter side is 4, 8, 16, 32, .* not"):
            Generator(image=ImageSpec(*size, 1), width=4, blocks=1)


def test_annealed_importance_sampling_brackets_a_linear_decoder():
    """Exactly: x ~ N(b, W W^T + s^2 I)."""
    draw, d, k, std = torch.Generator().manual_seed(3), 4, 2, 1.0
    weight, bias = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((d, k), (d,)))
    latents = torch.randn(4, k, generator=draw, dtype=torch.float64)
    noise = torch.randn(4, d, generator=draw, dtype=torch.float64)
    observed = latents @ weight.T + bias + std * noise
    options = {"latent": k, "std": std, "chains": 256, "temperatures": 100, "generator": draw}
    below = annealed_log_likelihood(lambda z: z @ weight.T + bias, observed, **options)
    above = annealed_log_likelihood(lambda z: z @ weight.T + bias, observed, start=latents, **options)
    exact = stats.multivariate_normal(bias.numpy(), (weight @ weight.T + std**2 * torch.eye(d)).numpy())
    wanted = torch.from_numpy(exact.logpdf(observed.numpy()))
    assert (below - wanted).abs().max() < 0.05 and (above - wanted).abs().max() < 0.05


def test_hamiltonian_transitions_keep_a_normal_distribution():
    """Though their step adapts: with a step of its own for each chain the mean square is 0.97."""
    options = {"dtype": torch.float64, "generator": torch.Generator().manual_seed(0)}
    z, step, squares = torch.randn(4000, 2, **options), torch.full((2,), 0.5, dtype=torch.float64), []
    for number in range(250):
        z, step = _transition(lambda z: -z.square().sum(1) / 2, z, step, options)
        if number >= 50:
            squares.append(z.square().mean().item())
    assert np.mean(squares) == pytest.approx(1, abs=0.01)


def test_the_birthday_of_400_images_is_near_24():
    """1.177 sqrt(N): that many samples of N equally likely images hold two alike half of the time."""
    known, draw = np.random.default_rng(0).normal(size=(400, 5)), np.random.default_rng(1)

    def share(samples):
        batches = (torch.from_numpy(known[draw.integers(400, size=samples)]) for _ in range(400))
        return np.mean([closest_pairs(batch, 1)[0].distance < 1e-6 for batch in batches])

    shares = {samples: share(samples) for samples in (20, 24, 28)}
    assert shares[20] < 0.5 < shares[28]
    assert support_size(24, shares[24]) == pytest.approx(400, rel=0.15)
    assert support_size(1178, 0.5) == pytest.approx(1e6, rel=1e-3)
    with pytest.raises(ValueError, match=r"share 0.0: of all batches or of none"):
        support_size(10, 0.0)


def test_the_closest_pairs_are_those_of_all_distances():
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    pairs = closest_pairs(features, 5)
    every = sorted(((a - b).norm().item(), i, j) for i, a in enumerate(features) for j, b in enumerate(features[:i]))
    assert [pair.distance for pair in pairs] == pytest.approx([each[0] for each in every[:5]], rel=1e-5)
    assert [{pair.first, pair.second} for pair in pairs] == [{i, j} for _, i, j in every[:5]]
