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


@dataclass(frozen=True, kw_only=True)
class MaxColumnNorm(Constraint):
    """Shrink the weights of each unit's inputs to at most a norm (Srivastava et al. 2014, section 5.1).

    They are columns to those who write x W. Goodfellow et al. 2014 bound them in the discriminator, by 1.9365.
    """

    bound: float = 1.9365

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> None:
        """Shrink what is too long; biases stay."""
        for weight in network.parameters():
            if weight.ndim > 1:
                norms = weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1))
                weight.mul_((self.bound / norms).clamp(max=1))  # a norm of 0 stays: its quotient is infinite
