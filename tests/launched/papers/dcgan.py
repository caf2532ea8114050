"""DCGAN (Radford et al. 2016) with R1, by hand."""

from collections.abc import Mapping

import torch
from by_hand import GROUP, ByHand, N, Paper, softly
from torch import Tensor

from ganlab.types import ImageSpec

MODEL = {
    "_target_": "ganlab.models.DCGAN",
    "width": 4,
    "latent": 4,
    "batch_norm_group": GROUP,
    "regularizers": {"r1": {"_target_": "ganlab.regularizers.R1", "weight": 0.5, "every": 2}},
    "ema_half_life": 50.0,
}


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    none, x = torch.full((N,), -1), batch["real"].clone().requires_grad_()
    real, fake = d(x, none), d(g(loop.latents("discriminator"), none).detach(), none)
    loss = softly(-real) + softly(fake)
    if number % 2 == 0:
        (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
        loss = loss + 2 * 0.5 * slope.square().sum((1, 2, 3)) / 2
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), 2e-4, (0.5, 0.999))
    loop.nimg += N
    loss = softly(-d(g(loop.latents("generator"), none), none))
    loop.adam("generator", loop.gradients(loss, "generator"), 2e-4, (0.5, 0.999))
    loop.average("generator", 0.5 ** (N / 50))


PAPERS = {"DCGAN": Paper(model=MODEL, by_hand=by_hand, image=ImageSpec(16, 16, 1, 3), graphs=3)}
