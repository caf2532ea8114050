"""f-AnoGAN (Schlegl et al. 2019), by hand."""

from collections.abc import Mapping

import torch
from by_hand import GROUP, ByHand, N, Paper
from torch import Tensor

from ganlab.types import ImageSpec

MODEL = {
    "_target_": "ganlab.models.FAnoGAN",
    "width": 4,
    "latent": 4,
    "weight": 0.5,
    "lr": 1e-3,
    "batch_norm_group": GROUP,
    "ema_half_life": 50.0,
}


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d, e = loop.averages["generator"].eval(), loop.nets["discriminator"], loop.nets["encoder"]
    again = g(e(batch["real"]), torch.full((N,), -1))
    difference = d.features(again) - d.features(batch["real"])
    loss = (again - batch["real"]).square().mean((1, 2, 3)) + 0.5 * difference.square().mean(1)
    for parameter, gradient in zip(*loop.gradients(loss, "encoder"), strict=True):
        square = loop.moments[parameter] = 0.99 * loop.moments.get(parameter, 0) + 0.01 * gradient**2
        parameter.data -= 1e-3 * gradient / (square.sqrt() + 1e-8)
    loop.average("encoder", 0.5 ** (N / 50))
    loop.nimg += N


PAPERS = {"f-AnoGAN": Paper(model=MODEL, by_hand=by_hand, image=ImageSpec(16, 16, 1), graphs=1)}
