"""Moving averages of networks, which make the samples (Polyak & Juditsky 1992)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import nn

from ganlab.engine import sharding
from ganlab.engine.optimizers import value_at
from ganlab.schedules import Linear, Schedule
from ganlab.types import UserError

RAMPED = Linear(start=0.0, end=10_000.0, until_nimg=200_000)
"""The half-life of an average that no paper sets: a twentieth of the images shown, at most 10,000 (Karras et al. 2020).

With the whole half-life from the start, the first grids would show the initial weights.
"""


@dataclass(frozen=True)
class Average(ABC):
    """How an average follows its network: `average = kept * average + (1 - kept) * network` at each update."""

    after: str | None = field(default=None, kw_only=True)
    """The player after whose steps it is updated; None is the last player of a round that moves the network."""

    @abstractmethod
    def kept(self, images: int, nimg: int) -> float:
        """Return the weight of the old average in an update, `images` reals after the last one, at `nimg`."""


@dataclass(frozen=True)
class HalfLife(Average):
    """An average with a half-life in reals shown, at any batch size (Karras et al. 2018, section 3.3)."""

    images: float | Schedule

    def __post_init__(self) -> None:
        if isinstance(self.images, int | float) and self.images <= 0:
            raise UserError(f"model.ema_half_life: {self.images}: must be more than 0")

    def kept(self, images: int, nimg: int) -> float:
        """0.5 ** (images / half-life)."""
        half_life: float = value_at(self.images, nimg)
        return 0.5 ** (images / half_life) if half_life > 0 else 0.0  # a schedule may start at 0: no averaging


@dataclass(frozen=True)
class Decay(Average):
    """An average with a constant decay per step of a player, whatever the batch size."""

    decay: float
    from_nimg: int = 0
    """Images shown before which it is a copy of its network (Brock et al. 2019)."""

    def kept(self, images: int, nimg: int) -> float:
        """The decay; 0 before `from_nimg`."""
        return self.decay if nimg >= self.from_nimg else 0.0


def follow(average: nn.Module, network: nn.Module, weight: float) -> None:
    """Interpolate an average towards its network by `weight`, and copy the network's buffers."""
    theirs, live = (sharding.local(each.parameters()) for each in (average, network))
    with torch.no_grad():
        torch._foreach_lerp_(theirs, live, weight)
    copy_buffers(average, network)


@torch.no_grad()
def copy_buffers(average: nn.Module, network: nn.Module) -> None:
    """Copy a network's buffers into its average: counts and statistics are never interpolated."""
    if buffers := list(average.buffers()):
        torch._foreach_copy_(buffers, list(network.buffers()))
