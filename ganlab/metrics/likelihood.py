"""Likelihoods: of exact densities in bits, and of decoders by annealed importance sampling."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ganlab.types import Images, PerSample

Decoder = Callable[[Tensor], Tensor]
"""Maps latents [n, k] to means of observations [n, d]."""
LEAPFROGS = 10
WANTED = 0.65
"""Share of proposals to be accepted, to which the step is adapted (Wu et al. 2017, section 5)."""


def bits_per_dimension(log_prob: PerSample, images: Images) -> PerSample:
    """Turn log-densities of dequantised images in [-1, 1] to bits per byte: -log2 of the mass of a cube of side 1/128.

    It bounds the bits that the bytes themselves need from above (Theis et al. 2016, section 3.1).
    """
    dims = images[0].numel()
    return (dims * math.log(128) - log_prob) / (dims * math.log(2))


def annealed_log_likelihood(
    decoder: Decoder,
    observations: Tensor,
    *,
    latent: int,
    std: float,
    chains: int = 16,
    temperatures: int = 1000,
    start: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Bound log p(x) of a decoder with a N(0, I) prior and N(decoder(z), std^2 I) observations (Wu et al. 2017).

    Annealed importance sampling (Neal 2001) from the prior to the posterior, by Hamiltonian transitions with 10
    leapfrog steps, on a sigmoid schedule of `temperatures`. Without `start` it is a lower bound in expectation; from
    `start` [n, latent], exact posterior samples (the latents that made simulated observations), the chains run
    backwards and give an upper bound. The truth lies between the two.

    Args:
        decoder: latents [m, latent] to means [m, d], differentiable.
        observations: [n, d].
        latent: dimensions of the latents.
        std: standard deviation of an observation.
        chains: chains per observation; the bound tightens with them.
        temperatures: intermediate distributions.
        start: latents that the backward chains start from.
        generator: source of the random numbers.

    Returns the bounds [n], in nats.
    """
    n, d = observations.shape
    x = observations.repeat(chains, 1)  # chains n, d
    options = {"dtype": x.dtype, "device": x.device, "generator": generator}

    def log_observed(z: Tensor) -> Tensor:
        return -((x - decoder(z)).square().sum(1) / std**2 + d * math.log(2 * math.pi * std**2)) / 2

    def log_density(beta: float, z: Tensor) -> Tensor:
        return beta * log_observed(z) - z.square().sum(1) / 2

    ramp = torch.linspace(-4, 4, temperatures + 1, dtype=x.dtype).sigmoid()
    betas = (ramp - ramp[0]) / (ramp[-1] - ramp[0])
    if start is None:
        z = torch.randn(len(x), latent, **options)  # type: ignore[call-overload]
    else:
        z, betas = start.repeat(chains, 1), betas.flip(0)
    weight, step = x.new_zeros(len(x)), x.new_full((n,), 0.1)
    for before, after in zip(betas[:-1].tolist(), betas[1:].tolist(), strict=True):
        weight = weight + (after - before) * log_observed(z)
        z, step = _transition(partial(log_density, after), z, step, options)
    weight = weight.view(chains, n)
    if start is None:
        return weight.logsumexp(0) - math.log(chains)
    return math.log(chains) - weight.logsumexp(0)


def _transition(
    log_density: Callable[[Tensor], Tensor], z: Tensor, step: Tensor, options: dict[str, object]
) -> tuple[Tensor, Tensor]:
    """Make a Hamiltonian transition of all chains [chains n, latent]; the step [n] adapts to the share accepted.

    The chains of an observation have one step: a chain's own would remember where it has been, and so keep it where
    proposals are accepted. Both bounds would come out too high.
    """
    chains = len(z) // len(step)
    steps = step.repeat(chains)[:, None]

    def slope(z: Tensor) -> Tensor:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return torch.autograd.grad(log_density(z).sum(), z)[0]

    momentum = torch.randn(z.shape, **options)  # type: ignore[call-overload]
    proposal, speed = z, momentum + steps / 2 * slope(z)
    for number in range(LEAPFROGS):
        proposal = proposal + steps * speed
        speed = speed + (steps if number < LEAPFROGS - 1 else steps / 2) * slope(proposal)
    with torch.no_grad():
        energy = log_density(z) - momentum.square().sum(1) / 2
        change = log_density(proposal) - speed.square().sum(1) / 2 - energy
        accepted = torch.rand(len(z), **options).log() < change  # type: ignore[call-overload]
        z = torch.where(accepted[:, None], proposal, z)
        share = accepted.to(z.dtype).view(chains, -1).mean(0)
        step = (step * 1.02 ** ((share - WANTED) / (1 - WANTED))).clamp(1e-4, 1.0)
    return z.detach(), step
