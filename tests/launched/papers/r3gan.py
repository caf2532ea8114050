"""R3GAN (Huang et al. 2024), by hand: pairs of one label, two penalties, new reals, and every schedule."""

import math
from collections.abc import Mapping

import torch
from by_hand import IMAGE, ByHand, N, Paper, softly
from torch import Tensor

MODEL = {
    "_target_": "ganlab.models.R3GAN",
    "width": 4,
    "group_width": 4,
    "latent": 4,
    "conditional": True,
    "gamma": [1.5, 0.5],
    "lr": [5e-3, 1e-3],
    "beta2": [0.9, 0.99],
    "ema_half_life": [0.0, 40.0],
    "decay_nimg": 60,
    "augment": None,
}


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]

    def now(first: float, last: float) -> float:
        """A scheduled scalar of now, by the paper's code."""
        share = 1 - (1 + math.cos(math.pi * min(loop.nimg / 60, 1))) / 2
        return first + share * (last - first)

    def step(player: str, loss: Tensor) -> None:
        loop.adam(player, loop.gradients(loss, player), now(5e-3, 1e-3), (0.0, now(0.9, 0.99)))

    real, labels = batch["real"].clone().requires_grad_(), batch["labels"]
    fake = g(loop.latents("discriminator"), labels).detach().requires_grad_()
    of_real, of_fake = d(real, labels), d(fake, labels)
    slopes = torch.autograd.grad(of_real.sum() + of_fake.sum(), (real, fake), create_graph=True)
    squares = sum(slope.square().sum((1, 2, 3)) for slope in slopes)
    step("discriminator", softly(of_fake - of_real) + now(1.5, 0.5) / 2 * squares)
    loop.nimg += N
    real, labels = batch["other"], batch["other_labels"]
    step("generator", softly(d(real, labels) - d(g(loop.latents("generator"), labels), labels)))
    half_life = now(0.0, 40.0)
    loop.average("generator", 0.5 ** (N / half_life))


PAPERS = {"R3GAN": Paper(model=MODEL, by_hand=by_hand, other=IMAGE)}
