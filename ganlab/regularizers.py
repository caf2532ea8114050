"""Terms added to a player's loss: penalties on a network's input gradient, or on its output.

A class names the pass that it uses and computes the penalty from it. The player's loss makes each pass once, however
many penalties use it.
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
    """One pass through a network, the input of a penalty."""

    inputs: tuple[Tensor, ...]
    """The inputs, each with samples along the first dimension."""
    output: Tensor
    """The output: logits [n] of a discriminator."""
    gradient: Tensor | None
    """Gradient of each sample's output by its first input; None where no penalty needs it."""
    network: Callable[..., Tensor]
    """The function that makes the pass, for penalties that need another one."""


def input_gradient(network: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of each sample's output by its first input, and the outputs of the same forward pass.

    It uses `torch.func.grad`, so that the penalty and the loss can be compiled as one graph. `network` must be plain
    differentiable operations: no `autograd.Function`, no buffer written in forward.
    """

    def total(first: Tensor) -> tuple[Tensor, Tensor]:
        output = network(first, *inputs[1:])
        return output.sum(), output

    gradient, output = torch.func.grad(total, has_aux=True)(inputs[0])
    return gradient, output


@dataclass(frozen=True, kw_only=True)
class Regularizer(ABC):
    """`weight * penalty`, with the paper's penalty; with `every: k` at every k-th step, k times as strong."""

    weight: float | Schedule
    every: int = 1

    at: ClassVar[str]
    """The pass that it uses, by its name in the player's loss. A discriminator's loss has `real`, `fake` and
    `interpolates` (random points on the line from each real to its fake), a generator's has `latents`."""
    gradient: ClassVar[bool] = True
    """Whether it needs the input gradient of that pass, which is then made in full precision."""

    @abstractmethod
    def penalty(self, point: Point) -> PerSample:
        """Return the penalty of each sample."""


def squared_norm(gradient: Tensor | None) -> PerSample:
    """Return the squared norm of each sample's gradient; `gradient` is [n, ...]."""
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
    """Squared distance of the gradient's norm from 1, at interpolates (Gulrajani et al. 2017, eq. 3).

    Their lambda, 10, is `weight`. Each pair of real and fake has its own mixing weight.
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
