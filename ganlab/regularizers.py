"""Terms added to a player's loss: penalties on a network's input gradient, or on what it gives.

A class says where it looks and what it makes of that; the loss of the player makes the passes, each once, however many
penalties look at it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ganlab.schedules import Schedule
from ganlab.types import PerSample


class Point(NamedTuple):
    """One pass through a network, as a penalty sees it."""

    inputs: tuple[Tensor, ...]
    """What went in, samples first in each."""
    output: Tensor
    """What came out: logits [n] of a discriminator."""
    gradient: Tensor | None
    """Of each sample's output by its first input, the others held; None where no penalty asks for it."""
    network: Callable[..., Tensor]
    """The pass itself, for penalties that need another one."""


def input_gradient(network: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of each sample's output by its first input, and the outputs of the same forward pass.

    Through `torch.func.grad`, so that the penalty and the loss can be compiled as one graph. `network` must be plain
    differentiable operations: no `autograd.Function`, no buffer written in forward.
    """

    def total(first: Tensor) -> tuple[Tensor, Tensor]:
        output = network(first, *inputs[1:])
        return output.sum(), output

    gradient, output = torch.func.grad(total, has_aux=True)(inputs[0])
    return gradient, output


@dataclass(frozen=True, kw_only=True)
class Regularizer(ABC):
    """`weight * penalty`, the penalty as the paper writes it; with `every: k` at every k-th step, k times as strong."""

    weight: float | Schedule
    every: int = 1

    at: ClassVar[str]
    """The pass that it looks at, by the name that the player's loss gives it. A discriminator's loss has `real`, `fake`
    and `interpolates` (random points on the lines from each real to its fake), a generator's has `latents`."""
    gradient: ClassVar[bool] = True
    """Whether it asks for the gradient of that pass, which is then made in full precision."""

    @abstractmethod
    def penalty(self, point: Point) -> PerSample:
        """Return the penalty of every sample."""


def squared_norm(gradient: Tensor | None) -> PerSample:
    """Return each sample's squared norm of a gradient [n, ...]."""
    assert gradient is not None
    return gradient.square().sum(tuple(range(1, gradient.ndim)))


class R1(Regularizer):
    """Half the squared norm of the gradient at real images (Mescheder et al. 2018, eq. 9; their gamma is `weight`)."""

    at = "real"

    def penalty(self, point: Point) -> PerSample:
        """|grad D(x)|^2 / 2."""
        return squared_norm(point.gradient) / 2


class R2(Regularizer):
    """Half the squared norm of the gradient at generated images (Mescheder et al. 2018, eq. 10)."""

    at = "fake"

    def penalty(self, point: Point) -> PerSample:
        """|grad D(G(z))|^2 / 2."""
        return squared_norm(point.gradient) / 2


class GradientPenalty(Regularizer):
    """Squared distance of the gradient's norm from 1, between reals and fakes (Gulrajani et al. 2017, eq. 3).

    Their lambda, 10, is `weight`. Each pair has a mixing weight of its own.
    """

    at = "interpolates"

    def penalty(self, point: Point) -> PerSample:
        """(|grad D(x)| - 1)^2."""
        # At a gradient of exactly 0 the norm has no derivative, and autograd would give NaN.
        norm = (squared_norm(point.gradient) + 1e-12).sqrt()
        return (norm - 1).square()


class Drift(Regularizer):
    """Squared logit of real images, which keeps a Wasserstein critic near zero (Karras et al. 2018, appendix A.1).

    Their epsilon, 0.001, is `weight`.
    """

    at = "real"
    gradient = False

    def penalty(self, point: Point) -> PerSample:
        """D(x)^2."""
        return point.output.square()
