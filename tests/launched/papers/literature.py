"""Parts of the literature together: a loss over the whole batch, penalties that draw, that remember and that are on
weights, noise that fades, and an optimizer around another one."""

from collections.abc import Mapping
from typing import Any

import torch
from by_hand import ByHand, N, Paper
from torch import Tensor

from ganlab.types import ImageSpec

ADAM = {"_target_": "torch.optim.Adam", "lr": 1e-3, "betas": [0.5, 0.99]}


def penalty(kind: str, **arguments: float) -> dict[str, Any]:
    return {"_target_": f"ganlab.regularizers.{kind}", **arguments}


MODEL = {
    "_target_": "ganlab.models.GANModule",
    "generator": {"_target_": "games.Generator"},
    "discriminator": {"_target_": "games.JudgeOfImages"},
    "objective": {
        "_target_": "ganlab.objectives.MMD",
        "kernel": {"_target_": "ganlab.objectives.RationalQuadraticKernel", "scales": [0.5, 2.0]},
    },
    "optimizers": {"discriminator": {"_target_": "ganlab.optim.Optimistic", "optimizer": ADAM}, "generator": ADAM},
    "regularizers": {
        "lecam": penalty("LeCam", weight=0.3, decay=0.8),
        "dragan": penalty("DRAGAN", weight=0.1, std=0.2),
        "history": penalty("HistoricalAveraging", weight=0.5),
    },
    "generator_regularizers": {
        "clamping": penalty("JacobianClamping", weight=0.2, most=0.5, step=0.7),
        "path": penalty("PathLength", weight=0.1, decay=0.9),
    },
    "augment": {
        "_target_": "ganlab.augment.InstanceNoise",
        "std": {"_target_": "ganlab.schedules.Linear", "start": 0.3, "end": 0.0, "until_nimg": 60},
    },
    "ema_half_life": 50.0,
}


def kernel(a: Tensor, b: Tensor) -> Tensor:
    d = (a[:, None] - b) ** 2
    return (1 + d) ** -0.5 + (1 + d / 4) ** -2


def discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate, without the pairs of one number."""
    of_pairs = kernel(x, x) + kernel(y, y) - kernel(x, y) - kernel(y, x)
    return (of_pairs.sum() - of_pairs.diag().sum()) / (N * (N - 1))


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    none, x = torch.full((N,), -1), batch["real"]
    moved = torch.cat([p.detach().flatten() for p in d.parameters()])
    if not number:
        loop.logits, loop.length, loop.seen, loop.last = torch.zeros(2), 0.0, [], 0.0  # type: ignore[attr-defined]
    loop.seen.append(moved)  # type: ignore[attr-defined]

    def noised(images: Tensor, name: str) -> Tensor:
        return images + 0.3 * max(0, 1 - loop.nimg / 60) * loop.noise().normal(f"{name} noise", *x.shape)

    real = noised(x, "discriminator real")
    fake = noised(g(loop.latents("discriminator"), none).detach(), "discriminator fake")
    at_real, at_fake = d(real, none), d(fake, none)
    mean_real, mean_fake = loop.logits  # type: ignore[attr-defined]
    around = real + 0.2 * loop.noise().normal("discriminator dragan", *x.shape)
    around.requires_grad_()
    (slope,) = torch.autograd.grad(d(around, none).sum(), around, create_graph=True)
    weights = torch.cat([p.flatten() for p in d.parameters()])
    loss = (
        -discrepancy(at_real, at_fake)
        + 0.3 * ((at_real - mean_fake).relu() ** 2 + (mean_real - at_fake).relu() ** 2).mean()
        + 0.1 * ((slope**2).sum((1, 2, 3)).sqrt() - 1).square().mean()
        + 0.5 * (weights - torch.stack(loop.seen).mean(0)).square().sum()  # type: ignore[attr-defined]
    )
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), 1e-3)
    with torch.no_grad():
        after = torch.cat([p.flatten() for p in d.parameters()])
        move = after - moved
        torch.nn.utils.vector_to_parameters(after + move - loop.last, d.parameters())  # type: ignore[attr-defined]
        loop.last = move  # type: ignore[attr-defined]
    now = torch.stack([at_real.detach().mean(), at_fake.detach().mean()])
    loop.logits = 0.8 * loop.logits + 0.2 * now  # type: ignore[attr-defined]
    loop.nimg += N

    z = loop.latents("generator").requires_grad_()
    made = g(z, none)
    loss = discrepancy(d(noised(x, "generator real"), none), d(noised(made, "generator fake"), none))
    step = loop.noise().normal("generator clamping", N, 4)
    moved = 0.7 * step / step.norm(dim=1, keepdim=True)
    ratio = (g(z.detach() + moved, none) - made).flatten(1).norm(dim=1) / 0.7
    direction = loop.noise().normal("generator path", *x.shape) / x.shape[3]
    (slope,) = torch.autograd.grad((made * direction).sum(), z, create_graph=True)
    lengths = slope.norm(dim=1)
    loss = loss + 0.2 * ((ratio - 0.5).relu() ** 2 + (1 - ratio).relu() ** 2).mean()
    loss = loss + 0.1 * (lengths - loop.length).square().mean()  # type: ignore[attr-defined]
    loop.adam("generator", loop.gradients(loss, "generator"), 1e-3)
    loop.length = 0.9 * loop.length + 0.1 * lengths.detach().mean()  # type: ignore[attr-defined]
    loop.average("generator", 0.5 ** (N / 50))


PAPERS = {"literature": Paper(model=MODEL, by_hand=by_hand, image=ImageSpec(8, 8, 1), coupled=True)}
"""With one class of each kind: the others differ in their formulas alone."""
