"""Averages of networks over their steps, with which samples are made (Polyak & Juditsky 1992)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from ganlab.engine import sharding
from ganlab.engine.optimizers import value_at
from ganlab.schedules import Schedule
from ganlab.types import UserError


@dataclass(frozen=True)
class Average(ABC):
    """How a network's average follows it: `average = kept * average + (1 - kept) * network`, now and then."""

    @abstractmethod
    def kept(self, images: int, nimg: int) -> float:
        """Return what the average keeps of itself, `images` reals after it last followed, at a moment."""


@dataclass(frozen=True)
class HalfLife(Average):
    """An average that forgets half while so many reals are shown, at any batch size (Karras et al. 2018, section 3.3).

    It follows once a step, of the last player in a round's order that moves the network.
    """

    images: float | Schedule
    after: str | None = None
    """The player whose steps it follows; None is the last one that moves the network."""

    def __post_init__(self) -> None:
        if isinstance(self.images, int | float) and self.images <= 0:
            raise UserError(f"model.ema_half_life: {self.images}: must be more than 0")

    def kept(self, images: int, nimg: int) -> float:
        """0.5 ** (images / half-life)."""
        half_life: float = value_at(self.images, nimg)
        return 0.5 ** (images / half_life) if half_life > 0 else 0.0  # a schedule may begin with no average at all


@dataclass(frozen=True)
class Decay(Average):
    """An average that keeps the same at every step of a player, however many images that has."""

    decay: float
    after: str | None = None
    """As of `HalfLife`."""

    def kept(self, images: int, nimg: int) -> float:
        """The decay."""
        return self.decay


def follow(average: nn.Module, network: nn.Module, weight: float) -> None:
    """Move an average towards its network, by `weight` of the way."""
    theirs, live = (sharding.local(each.parameters()) for each in (average, network))
    with torch.no_grad():
        torch._foreach_lerp_(theirs, live, weight)
    copy_buffers(average, network)


@torch.no_grad()
def copy_buffers(average: nn.Module, network: nn.Module) -> None:
    """Give an average its network's buffers: counts and statistics are no weights, and never interpolated."""
    if buffers := list(average.buffers()):
        torch._foreach_copy_(buffers, list(network.buffers()))
