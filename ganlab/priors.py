"""Priors of codes: the distributions that encoders are made to follow, and that samples are decoded from."""

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ganlab.seeding import Noise
from ganlab.types import Labels, Latents


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


@runtime_checkable
class Parted(Prior, Protocol):
    """A prior of equally likely parts, so that each class of the images can have its own."""

    @property
    def parts(self) -> int:
        """Number of parts."""
        ...

    def draw_parts(self, name: str, parts: Labels, noise: Noise) -> Latents:
        """Draw a code [n, dims] from each of the given parts [n]."""
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
    """Independent numbers, uniform in [low, 1) (Donahue et al. 2017, appendix C)."""

    dims: int = 50
    low: float = -1.0

    def draw(self, name: str, n: int, noise: Noise) -> Latents:
        """U(low, 1)."""
        return (1 - self.low) * noise.uniform(name, n, self.dims) + self.low


@dataclass(frozen=True, kw_only=True)
class Coded(Prior):
    """Noise, a one-hot category, and continuous codes (Chen et al. 2016, appendix C.1)."""

    noise: int = 62
    categories: int = 10
    continuous: int = 2

    @property
    def widths(self) -> tuple[int, int, int]:
        """Dimensions of the three."""
        return self.noise, self.categories, self.continuous

    @property
    def dims(self) -> int:
        """Of them side by side."""
        return sum(self.widths)

    def draw(self, name: str, n: int, noise: Noise) -> Latents:
        """U(-1, 1) around a category, each as likely."""
        uniform = noise.uniform(f"{name} latents", n, self.noise + self.continuous)
        return self.code(uniform, noise.classes(f"{name} categories", n, self.categories))

    def rows(self, name: str, n: int, noise: Noise) -> Latents:
        """The same for a grid: the category counts along a row, and all else is the same in a row."""
        numbers = torch.arange(noise.start, noise.start + n)
        row, category = numbers // self.categories, numbers % self.categories
        above, rows = int(row[0]), int(row[-1] - row[0]) + 1
        uniform = replace(noise, start=above).uniform(name, rows, self.noise + self.continuous)
        return self.code(uniform[row - above], category)

    def code(self, uniform: Tensor, category: Labels) -> Latents:
        """Put together what was drawn from [0, 1), and categories."""
        free, code = (2 * uniform - 1).split((self.noise, self.continuous), 1)
        return torch.cat([free, one_hot(category, self.categories).to(free), code], 1)


@dataclass(frozen=True, kw_only=True)
class Mixture(Parted):
    """Gaussians in the plane, long along the rays of their centres (Makhzani et al. 2016, figures 2 and 4)."""

    modes: int = 10
    radius: float = 1.4
    std: tuple[float, float] = (0.5, 0.1)
    """Along the ray, and across."""

    @property
    def dims(self) -> int:
        """The plane's."""
        return 2

    @property
    def parts(self) -> int:
        """The Gaussians."""
        return self.modes

    def draw(self, name: str, n: int, noise: Noise) -> Latents:
        """N((radius, 0), diag(std)^2), turned by a random multiple of 2 pi / modes."""
        return self.draw_parts(name, noise.classes(f"{name} modes", n, self.modes), noise)

    def draw_parts(self, name: str, parts: Labels, noise: Noise) -> Latents:
        """The same, turned by those multiples."""
        angle = parts.to(noise.dtype) * (2 * math.pi / self.modes)
        std = torch.tensor(self.std, dtype=noise.dtype, device=noise.device)
        along, across = (noise.normal(name, len(parts), 2) * std).unbind(1)
        return turned(along + self.radius, across, angle)


@dataclass(frozen=True, kw_only=True)
class SwissRoll(Parted):
    """A spiral in the plane, uniform in its area (Makhzani et al. 2016, figure 4)."""

    turns: float = 2.0
    radius: float = 4.0
    parts: int = 10
    """Stretches of the same area."""

    @property
    def dims(self) -> int:
        """The plane's."""
        return 2

    def draw(self, name: str, n: int, noise: Noise) -> Latents:
        """(u cos u, u sin u) with u = sqrt(U(0, 1)) 2 pi turns, scaled to the radius."""
        return self.spiral(noise.uniform(name, n))

    def draw_parts(self, name: str, parts: Labels, noise: Noise) -> Latents:
        """The same with (k + U(0, 1)) / parts for U(0, 1)."""
        return self.spiral((parts + noise.uniform(name, len(parts))) / self.parts)

    def spiral(self, area: Tensor) -> Latents:
        """Return the points of the spiral that have those shares [n] of its area within them."""
        share = area.sqrt()
        return turned(self.radius * share, torch.zeros_like(share), 2 * math.pi * self.turns * share)


def turned(x: Tensor, y: Tensor, angle: Tensor) -> Latents:
    """Turn points (x, y) [n] each by angles [n]; return them as [n, 2]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([x * cos - y * sin, x * sin + y * cos], 1)
