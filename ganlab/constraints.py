"""Constraints: changes of a network's weights after each step that moves it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable  # for `ganlab.experiment.parts`, which checks classes against it
class Constraint(Protocol):
    """A change of weights, in place, the same on every rank."""

    def __call__(self, network: nn.Module) -> None:
        """Project the weights back onto the allowed set."""
        ...


@dataclass(frozen=True, kw_only=True)
class WeightClip(Constraint):
    """Clip every weight to [-bound, bound] (Arjovsky et al. 2017, algorithm 1; their c, 0.01)."""

    bound: float = 0.01

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> None:
        """Clip the weights."""
        torch._foreach_clamp_min_(list(network.parameters()), -self.bound)
        torch._foreach_clamp_max_(list(network.parameters()), self.bound)
