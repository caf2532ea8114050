"""ADA with a probability that is fed back, inside R1 and the finite difference of R2, and beside a gradient penalty."""

from collections.abc import Mapping

import torch
from by_hand import ByHand, N, Paper, softly
from torch import Tensor

from ganlab.augment import ADA
from ganlab.types import ImageSpec

ADAM = {"_target_": "torch.optim.Adam", "lr": 1e-2, "betas": [0.5, 0.99]}
PIPE = {"filter": 1.0, "noise": 1.0, "cutout": 0.5}
TARGET, OVER = -0.2, 128


def penalty(kind: str) -> dict[str, object]:
    return {"_target_": f"ganlab.regularizers.{kind}", "weight": 0.5}


MODEL = {
    "_target_": "ganlab.models.GANModule",
    "generator": {"_target_": "games.Generator"},
    "discriminator": {"_target_": "games.JudgeOfImages"},
    "objective": {"_target_": "ganlab.objectives.NonSaturating"},
    "optimizers": {"discriminator": ADAM, "generator": ADAM},
    "regularizers": {"r1": penalty("R1"), "r2": penalty("FiniteDifferenceR2"), "gp": penalty("GradientPenalty")},
    "augment": {
        "_target_": "ganlab.augment.ADA",
        "p": {"_target_": "ganlab.augment.Adaptive", "target": TARGET, "over_nimg": OVER},
        **PIPE,
    },
    "ema_half_life": 50.0,
}


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    none, pipe = torch.full((N,), -1), ADA(**PIPE)
    if not number:
        loop.p, loop.signs = torch.zeros(3).double(), []  # type: ignore[attr-defined]

    def changed(images: Tensor, name: str) -> Tensor:
        return pipe(images, pipe.draw(images.shape, loop.noise(), name, loop.p))  # type: ignore[attr-defined]

    def slope(logits: Tensor, images: Tensor) -> Tensor:
        return torch.autograd.grad(logits.sum(), images, create_graph=True)[0].square().sum((1, 2, 3))

    x = batch["real"].clone().requires_grad_()
    y = g(loop.latents("discriminator"), none).detach()
    real, fake = changed(x, "discriminator real"), changed(y, "discriminator fake")
    between = real.detach().lerp(fake, loop.noise().uniform("between", N, 1, 1, 1)).requires_grad_()
    at_real, at_fake = d(real, none), d(fake, none)
    near = y + 0.01 * loop.noise().normal("discriminator r2", *x.shape)
    difference = (d(changed(near, "discriminator fake"), none) - at_fake) / 0.01
    loss = softly(-at_real) + softly(at_fake) + 0.25 * slope(at_real, x) + 0.25 * difference**2
    loss = loss + 0.5 * (slope(d(between, none), between).sqrt() - 1) ** 2
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), 1e-2)
    loop.nimg += N

    loop.signs += at_real.sign().tolist()  # type: ignore[attr-defined]
    if number % 4 == 3:
        up = sum(loop.signs) / len(loop.signs) > TARGET  # type: ignore[attr-defined]
        loop.p[0] = max(0, loop.p[0] + (4 * N / OVER if up else -4 * N / OVER))  # type: ignore[attr-defined]
        loop.signs = []  # type: ignore[attr-defined]

    loss = softly(-d(changed(g(loop.latents("generator"), none), "generator fake"), none))
    loop.adam("generator", loop.gradients(loss, "generator"), 1e-2)
    loop.average("generator", 0.5 ** (N / 50))


PAPERS = {"ADA": Paper(model=MODEL, by_hand=by_hand, image=ImageSpec(8, 8, 1), rounds=20)}
