"""What a regularizer is, and what it sees."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ganlab.schedules import Schedule
from ganlab.types import PerSample


class Point(NamedTuple):
    """One pass through a network, the input of a penalty."""

    inputs: tuple[Any, ...]
    """The inputs, each with samples along the first dimension, or a mapping of such. At `weights`: the weights that the
    player moves."""
    output: Tensor
    """The output: logits [n] of a discriminator."""
    gradient: Tensor | None
    """Gradient of each sample's output by its first input; None where no penalty needs it."""
    network: Callable[..., Tensor]
    """The function that makes the pass, for penalties that need another one."""
    at: str = ""
    """The name of the pass."""
    noise: Tensor | None = None
    """Standard normal numbers, where the penalty draws some."""
    memory: Tensor | None = None
    """What the penalty remembers of earlier steps, where it does."""


def input_gradient(network: Callable[..., Tensor], *inputs: Any) -> tuple[Tensor, Tensor]:
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

    at: ClassVar[tuple[str, ...]]
    """The passes that it uses, by their names in the player's loss; their penalties add up. A discriminator's loss has
    `real`, `fake` and `interpolates` (random points on the line from each real to its fake), a generator's has
    `latents`. Every player has `weights`: not a pass, but the weights that it moves, whose penalty is one number."""
    gradient: ClassVar[bool] = True
    """Whether it needs the input gradient of that pass, which is then made in full precision."""
    full: ClassVar[bool] = False
    """Whether it makes passes of its own, which are then made in full precision, as the first one is."""
    own_gradient: ClassVar[bool] = False
    """Whether it takes an input gradient in a pass of its own: the network may then keep no running statistics."""
    noise: ClassVar[str | None] = None
    """The tensor of a step, `real` or `latents`, of whose shape it draws normal numbers; None draws none."""

    @abstractmethod
    def penalty(self, point: Point) -> PerSample | tuple[PerSample, Mapping[str, PerSample]]:
        """Return the penalty of each sample; optionally with values that are only recorded."""

    def memory(self, weights: Sequence[Tensor]) -> Tensor | None:
        """Return what it remembers before the first step, for a player that moves `weights`; None for nothing."""
        return None

    def remember(self, memory: Tensor, found: Mapping[str, Tensor], weights: Sequence[Tensor], steps: int) -> None:
        """Update its memory after step number `steps` of the player, the same on all ranks.

        `found` holds what the step has recorded on this rank, with [n] values each.
        """
        raise NotImplementedError


def given(tensor: Tensor | None) -> Tensor:
    """Return a field of a point that is there because the regularizer's class asks for it."""
    assert tensor is not None
    return tensor


def squared_norm(values: Tensor | None) -> PerSample:
    """Return the squared norm of each sample's values [n, ...]."""
    values = given(values)
    return values.square().sum(tuple(range(1, values.ndim)))


def norm(values: Tensor | None) -> PerSample:
    """Return the norm of each sample's values [n, ...]."""
    # At exactly 0 the norm has no derivative, and autograd would give NaN.
    return (squared_norm(values) + 1e-12).sqrt()
