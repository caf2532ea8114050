"""Dynamics of a game of two tiny networks, by hand: the field and its whole Jacobian, row by row."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from by_hand import ByHand, N, Paper, softly
from torch import Tensor
from torch.func import functional_call

from ganlab.types import ImageSpec

IMAGE = ImageSpec(2, 2, 1)
NONE = torch.full((N,), -1)
BETA1, BETA2, LR = 0.5, 0.99, 2e-3
Vector = list[Tensor]


def discriminator_loss(loop: ByHand, d: Callable[..., Tensor], batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The logistic loss, and R1 of weight 0.5 beside it."""
    x = batch["real"].clone().requires_grad_()
    real, fake = d(x, NONE), d(loop.nets["generator"](loop.latents("discriminator"), NONE), NONE)
    (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
    return (softly(-real) + softly(fake)).mean(), 0.5 * slope.square().sum((1, 2, 3)).mean() / 2


def field(loop: ByHand, batch: Mapping[str, Tensor]) -> tuple[list[Tensor], Vector]:
    """All weights, the discriminator's first, and each player's gradient by its own, with their graphs."""
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    of_g = softly(-d(g(loop.latents("discriminator"), NONE), NONE)).mean()
    of_d = sum(discriminator_loss(loop, d, batch))
    xi = [
        gradient
        for loss, net in ((of_d, d), (of_g, g))
        for gradient in torch.autograd.grad(loss, list(net.parameters()), create_graph=True)
    ]
    return [*d.parameters(), *g.parameters()], xi


def jacobian(weights: Sequence[Tensor], xi: Vector) -> Tensor:
    """J, row by row."""
    rows = [
        torch.autograd.grad(entry, weights, retain_graph=True, materialize_grads=True)
        for entry in torch.cat([each.flatten() for each in xi])
    ]
    return torch.stack([torch.cat([each.flatten() for each in row]) for row in rows])


def stepped(loop: ByHand, direction: Tensor) -> None:
    """A step of both players' Adam, and what follows one."""
    for name in ("discriminator", "generator"):
        own = list(loop.nets[name].parameters())
        pieces, direction = direction.split([sum(p.numel() for p in own), len(direction) - sum(p.numel() for p in own)])
        gradients = [piece.view_as(p) for piece, p in zip(pieces.split([p.numel() for p in own]), own, strict=True)]
        loop.adam(name, (own, tuple(gradients)))


def concluded(loop: ByHand) -> None:
    loop.average("generator", 0.5 ** (N / 50))
    loop.nimg += N


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([each.detach().flatten() for each in tensors])


def consensus(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    weights, xi = field(loop, batch)
    energy = sum(each.square().sum() for each in xi) / 2
    stepped(loop, flat(xi) + 0.3 * flat(torch.autograd.grad(energy, weights)))
    concluded(loop)


def symplectic(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    weights, xi = field(loop, batch)
    j, v = jacobian(weights, xi), flat(xi)
    turned, pulled = (j - j.T).T @ v / 2, j.T @ v
    sign = torch.sign((v @ pulled) * (turned @ pulled) / len(v) + 0.1)
    stepped(loop, v + 0.7 * sign * turned)
    concluded(loop)


def extragradient(loop: ByHand, number: int, batch: Mapping[str, Tensor], past: bool = False) -> None:
    start = [p.detach().clone() for name in ("discriminator", "generator") for p in loop.nets[name].parameters()]
    ahead: Any = loop.moments.get("past") if past else flat(own_latents(loop, batch)[1])
    if ahead is not None:
        stepped(loop, ahead)
    weights, xi = own_latents(loop, batch)
    for weight, before in zip(weights, start, strict=True):
        weight.data.copy_(before)
    stepped(loop, flat(xi))
    loop.moments["past"] = flat(xi)
    concluded(loop)


def own_latents(loop: ByHand, batch: Mapping[str, Tensor]) -> tuple[list[Tensor], Vector]:
    """The field with latents of its own for each player."""
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    of_g = softly(-d(g(loop.latents("generator"), NONE), NONE)).mean()
    pairs = ((sum(discriminator_loss(loop, d, batch)), d), (of_g, g))
    xi = [gradient for loss, net in pairs for gradient in torch.autograd.grad(loss, list(net.parameters()))]
    return [*d.parameters(), *g.parameters()], xi


def unrolled(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    phi = dict(d.named_parameters())
    moments = {at: loop.moments.get(("discriminator", p), (0.0, 0.0)) for at, p in phi.items()}
    t, taken = loop.steps.get("discriminator", 0), []
    for _ in range(3):
        loss = sum(discriminator_loss(loop, partial(at_weights, d, phi), batch))
        taken.append(torch.autograd.grad(loss, list(phi.values()), create_graph=True))
        t, after = t + 1, {}
        for (at, weight), gradient in zip(phi.items(), taken[-1], strict=True):
            first, second = moments[at]
            first, second = BETA1 * first + (1 - BETA1) * gradient, BETA2 * second + (1 - BETA2) * gradient**2
            moments[at] = first, second
            after[at] = weight - LR * (first / (1 - BETA1**t)) / ((second / (1 - BETA2**t)).sqrt() + 1e-8)
        phi = after
    outer, _ = discriminator_loss(loop, partial(at_weights, d, phi), batch)
    of_g = torch.autograd.grad(-outer, list(g.parameters()))
    stepped(loop, torch.cat([flat(taken[0]), flat(of_g)]))
    concluded(loop)


def at_weights(net: torch.nn.Module, weights: dict[str, Tensor], *inputs: Tensor) -> Tensor:
    logits: Tensor = functional_call(net, weights, inputs)
    return logits


def paper(by_hand: Any, name: str, second_order: bool = True, **arguments: Any) -> Paper:
    dynamics = {"_target_": f"ganlab.engine.dynamics.{name}", **arguments}
    return Paper(
        model={"_target_": "games.Duel", "dynamics": dynamics},
        by_hand=by_hand,
        image=IMAGE,
        coupled=second_order,
        second_order=second_order,
    )


PAPERS = {
    "consensus": paper(consensus, "Consensus", gamma=0.3),
    "symplectic": paper(symplectic, "SymplecticAdjustment", weight=0.7),
    "extragradient": paper(extragradient, "Extragradient", second_order=False),
    "past extragradient": paper(partial(extragradient, past=True), "Extragradient", second_order=False, past=True),
    "unrolled": paper(unrolled, "Unrolled", steps=3),
}
