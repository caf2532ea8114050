"""Priors of codes: the distributions that encoders are made to follow, and that samples are decoded from."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from ganlab.seeding import Noise
from ganlab.types import Latents


@runtime_checkable  # for `ganlab.experiment.parts`, which checks classes against it
class Prior(Protocol):
    """A distribution of codes."""

    @property
    def dims(self) -> int:
        """Dimensions of a code."""
        ...

    def draw(self, name: str, n: int, noise: Noise) -> Latents:
        """Draw `n` codes [n, dims]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Normal(Prior):
    """Independent normal numbers of mean 0."""

    dims: int = 8
    std: float = 1.0

    def draw(self, name: str, n: int, noise: Noise) -> Latents:
        """N(0, std^2)."""
        return self.std * noise.normal(name, n, self.dims)


@dataclass(frozen=True, kw_only=True)
class Uniform(Prior):
    """Independent numbers, uniform in [-1, 1) (Donahue et al. 2017, appendix C)."""

    dims: int = 50

    def draw(self, name: str, n: int, noise: Noise) -> Latents:
        """U(-1, 1)."""
        return 2 * noise.uniform(name, n, self.dims) - 1


@dataclass(frozen=True, kw_only=True)
class Mixture(Prior):
    """Gaussians in the plane, long along the rays on which their centres lie (Makhzani et al. 2016, figure 4)."""

    modes: int = 10
    radius: float = 1.4
    std: tuple[float, float] = (0.5, 0.1)
    """Along the ray, and across."""

    @property
    def dims(self) -> int:
        """The plane's."""
        return 2

    def draw(self, name: str, n: int, noise: Noise) -> Latents:
        """N((radius, 0), diag(std)^2), turned by a random multiple of 2 pi / modes."""
        angle = noise.classes(f"{name} modes", n, self.modes) * (2 * math.pi / self.modes)
        along, across = (noise.normal(name, n, 2) * torch.tensor(self.std, device=angle.device)).unbind(1)
        return turned(along + self.radius, across, angle)


@dataclass(frozen=True, kw_only=True)
class SwissRoll(Prior):
    """A spiral in the plane, uniform in its area (Makhzani et al. 2016, figure 4)."""

    turns: float = 2.0
    radius: float = 4.0

    @property
    def dims(self) -> int:
        """The plane's."""
        return 2

    def draw(self, name: str, n: int, noise: Noise) -> Latents:
        """(u cos u, u sin u) with u = sqrt(U(0, 1)) 2 pi turns, scaled to the radius."""
        share = noise.uniform(name, n).sqrt()
        return turned(self.radius * share, torch.zeros_like(share), 2 * math.pi * self.turns * share)


def turned(x: torch.Tensor, y: torch.Tensor, angle: torch.Tensor) -> Latents:
    """Turn points (x, y) [n] each by angles [n]; return them as [n, 2]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([x * cos - y * sin, x * sin + y * cos], 1).to(x.dtype)
