"""pix2pix (Isola et al. 2017), by hand: pairs one above the other, with dropout drawn for each step."""

from collections.abc import Mapping

import torch
from by_hand import ByHand, N, Paper, softly
from torch import Tensor

from ganlab.types import ImageSpec

MODEL = {"_target_": "ganlab.models.Pix2Pix", "width": 4, "ema_half_life": 50.0}


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    x, y = batch["real"][:, :, :8], batch["real"][:, :, 8:]

    def made(player: str) -> Tensor:
        shapes = (8, 2, 2), (4, 4, 4)  # what the first doublings make, from one pixel on
        return g(x, *(loop.noise().uniform(f"{player} dropout {k}", N, *shape) for k, shape in enumerate(shapes)))

    def judged(image: Tensor) -> Tensor:
        return d(torch.cat([x, image], 1))

    loss = (softly(-judged(y)) + softly(judged(made("discriminator").detach()))).mean((1, 2, 3)) / 2
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), 2e-4, (0.5, 0.999))
    loop.nimg += N
    fake = made("generator")
    loss = softly(-judged(fake)).mean((1, 2, 3)) + 100 * (fake - y).abs().mean((1, 2, 3))
    loop.adam("generator", loop.gradients(loss, "generator"), 2e-4, (0.5, 0.999))
    loop.average("generator", 0.5 ** (N / 50))


PAPERS = {"pix2pix": Paper(model=MODEL, by_hand=by_hand, image=ImageSpec(16, 8, 1))}
