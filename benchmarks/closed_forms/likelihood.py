"""Likelihood against adversary: one invertible generator, trained by maximum likelihood and by WGAN-GP.

Danihelka et al. 2017 find that the adversary's samples win by an independent Wasserstein critic and lose by likelihood,
and that the latents inferred from its generator are far from normal. On scikit-learn's digits of 8 px, 360 held out.
Beside it, annealed importance sampling of a linear decoder and the birthday test of 400 images: both answers are known.
"""

from collections.abc import Iterator

import numpy as np
import torch
from digits import HELD_OUT
from rows import Row
from sklearn.datasets import load_digits
from streams import played
from torch import Tensor, nn
from torch.func import grad, vmap

from ganlab.metrics.birthday import closest_pairs, support_size
from ganlab.metrics.likelihood import annealed_log_likelihood, bits_per_dimension

BATCH = 64
ROUNDS = {"realnvp_mle": 600, "realnvp_wgan": 3000}
"""As many steps of the generator, since a critic has five to each of them."""
CRITIC_STEPS = 1500


def small_digits(seed: int) -> tuple[Tensor, Tensor]:
    """The digits as bytes [n, 1, 8, 8], for training and held out."""
    images = (load_digits().images[:, None] * (255 / 16)).round().astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(images))
    shuffled = torch.from_numpy(images[order])
    return shuffled[HELD_OUT:], shuffled[:HELD_OUT]


def dequantized(images: Tensor, seed: int) -> Tensor:
    """Bytes as floats in [-1, 1], each anywhere in the cube of its byte."""
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
    return (images + uniform) / 128 - 1


def critic_distance(reals: tuple[Tensor, Tensor], fakes: tuple[Tensor, Tensor], seed: int) -> float:
    """Train a critic with a gradient penalty on the first sets; return its difference of means on the second ones."""
    torch.manual_seed(seed)
    critic = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)
    )
    adam = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.9))
    for _ in range(CRITIC_STEPS):
        real, fake = (each[torch.randint(len(each), (BATCH,))] for each in (reals[0], fakes[0]))
        between = real.lerp(fake, torch.rand(BATCH, 1, 1, 1))
        slope = vmap(grad(lambda image: critic(image[None]).sum()))(between).flatten(1).norm(dim=1)
        loss = critic(fake).mean() - critic(real).mean() + 10 * (slope - 1).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        return (critic(reals[1]).mean() - critic(fakes[1]).mean()).item()


def rows(seed: int) -> Iterator[Row]:
    training, held_out = small_digits(seed)
    reals = dequantized(training, 1), dequantized(held_out, 2)
    found = {}
    for name in ROUNDS:
        game = played(f"digits/{name}.yaml", seed, {"real": training}, f"train.total_nimg={BATCH * ROUNDS[name]}")
        made = game.sample(len(training) + HELD_OUT, seed=seed)
        fakes = dequantized(made[HELD_OUT:], 3), dequantized(made[:HELD_OUT], 4)
        with torch.no_grad():
            bits = bits_per_dimension(game.ema.log_prob(reals[1]), reals[1]).mean().item()
            latents, _ = game.ema.encode(reals[1])
        found[name] = bits, critic_distance(reals, fakes, seed), latents.square().mean().item()
    (bits, distance, square), (their_bits, their_distance, their_square) = found.values()
    system = "Real NVP on digits"
    yield Row(system, "bits per dimension held out, by likelihood", bits, "the lower", bits < their_bits)
    yield Row(system, "bits per dimension held out, by WGAN-GP", their_bits, "the higher", bits < their_bits)
    yield Row(system, "critic's distance, by likelihood", distance, "the larger", distance > their_distance)
    yield Row(system, "critic's distance, by WGAN-GP", their_distance, "the smaller", distance > their_distance)
    yield Row(system, "mean square of inferred latents, by likelihood", square, "near 1", 0.5 < square < 2)
    far = abs(np.log(their_square)) > abs(np.log(square))
    yield Row(system, "mean square of inferred latents, by WGAN-GP", their_square, "farther from 1", far)
    yield from annealed(seed)
    yield from birthday(seed)


def annealed(seed: int) -> Iterator[Row]:
    draw = torch.Generator().manual_seed(seed)
    weight, bias = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((16, 4), (16,)))
    latents = torch.randn(8, 4, generator=draw, dtype=torch.float64)
    observed = latents @ weight.T + bias + 0.5 * torch.randn(8, 16, generator=draw, dtype=torch.float64)
    covariance = weight @ weight.T + 0.25 * torch.eye(16, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(bias, covariance).log_prob(observed).mean().item()
    bounds = {
        at: annealed_log_likelihood(
            lambda z: z @ weight.T + bias,
            observed,
            latent=4,
            std=0.5,
            chains=64,
            temperatures=2000,
            start=start,
            generator=draw,
        )
        .mean()
        .item()
        for at, start in (("below", None), ("above", latents))
    }
    for at, bound in bounds.items():
        yield Row("linear decoder", f"bound from {at}, nats", bound, f"{exact:.3f} +- .05", abs(bound - exact) < 0.05)


def birthday(seed: int) -> Iterator[Row]:
    draw = np.random.default_rng(seed)
    known = draw.normal(size=(400, 5))

    def share(samples: int) -> float:
        batches = (torch.from_numpy(known[draw.integers(400, size=samples)]) for _ in range(2000))
        return float(np.mean([closest_pairs(batch, 1)[0].distance < 1e-6 for batch in batches]))

    size = support_size(24, share(24))
    yield Row("birthday test", "support of a generator of 400 images", size, "400 +- 40", abs(size - 400) < 40)
