"""The distributions of synthetic datasets: points and digits.

A point is an image of one pixel whose channels are its coordinates, divided by `extent`, so that they lie about
[-1, 1]. The classes are the modes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlab.types import ImageSpec

Uniform = Callable[[str], NDArray[np.float64]]
"""Draws a number in [0, 1) for each sample; another name is another number."""
GLYPHS = (
    "111101101101111 010110010010111 111001111100111 111001111001111 101101111001001 "
    "111100111001111 111100111101111 111001010010010 111101111101111 111101111001111"
)
FONT = np.array([list(map(int, glyph)) for glyph in GLYPHS.split()], np.uint8).reshape(10, 5, 3)
"""The ten digits, 5 x 3 pixels each [10, 5, 3]."""


@dataclass(frozen=True, kw_only=True)
class Toy(ABC):
    """A distribution; its fields are the keys of the URL."""

    samples: int = 1_000_000
    """Images of an epoch: a larger number is nearer to endless fresh samples."""
    seed: int = 0
    """Another seed is another set of samples of the same distribution."""

    @property
    @abstractmethod
    def image(self) -> ImageSpec:
        """Shape and classes of the samples."""

    @abstractmethod
    def draw(self, uniform: Uniform) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Draw samples [n, h, w, c], as uint8 or as float32 in [-1, 1], and their classes [n]."""


@dataclass(frozen=True, kw_only=True)
class Gaussian(Toy):
    """Numbers, normally distributed (as in the one-dimensional toys of 2016)."""

    mean: float = 4.0
    std: float = 0.5
    extent: float = 8.0

    @property
    def image(self) -> ImageSpec:
        """One coordinate, no classes."""
        return ImageSpec(1, 1, 1)

    def draw(self, uniform: Uniform) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Draw numbers."""
        values = self.mean + self.std * normal(uniform)[0]
        return points(values / self.extent), np.full(len(values), -1)


@dataclass(frozen=True, kw_only=True)
class Dirac(Toy):
    """Always the same number (the data of Dirac-GAN: Mescheder et al. 2018, definition 2.1)."""

    mean: float = 0.0

    @property
    def image(self) -> ImageSpec:
        """One coordinate, no classes."""
        return ImageSpec(1, 1, 1)

    def draw(self, uniform: Uniform) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Repeat the number."""
        values = np.full(len(uniform("any")), self.mean)
        return points(values), np.full(len(values), -1)


class Mixture(Toy):
    """Gaussians of one size in the plane; the classes are the modes."""

    std: float
    extent: float

    @abstractmethod
    def centres(self, modes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return x and y of the centre of each mode [n]."""

    def draw(self, uniform: Uniform) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Draw points."""
        labels = below(self.image.classes, uniform("mode"))
        drawn = [centre + self.std * noise for centre, noise in zip(self.centres(labels), normal(uniform), strict=True)]
        return points(*(each / self.extent for each in drawn)), labels


@dataclass(frozen=True, kw_only=True)
class Ring(Mixture):
    """Gaussians with centres on a circle (Metz et al. 2017: 8, radius 2, standard deviation 0.02)."""

    modes: int = 8
    radius: float = 2.0
    std: float = 0.02
    extent: float = 4.0

    @property
    def image(self) -> ImageSpec:
        """Two coordinates; the classes count from the x axis on."""
        return ImageSpec(1, 1, 2, self.modes)

    def centres(self, modes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Place them on the circle."""
        angle = 2 * np.pi * modes / self.modes
        return self.radius * np.cos(angle), self.radius * np.sin(angle)


@dataclass(frozen=True, kw_only=True)
class Grid(Mixture):
    """Gaussians with centres on a square grid around 0 (Srivastava et al. 2017: 5 x 5, 2 apart, deviation 0.05)."""

    side: int = 5
    spacing: float = 2.0
    std: float = 0.05
    extent: float = 5.0

    @property
    def image(self) -> ImageSpec:
        """Two coordinates; the classes count row by row."""
        return ImageSpec(1, 1, 2, self.side**2)

    def centres(self, modes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Place them row by row."""
        middle = (self.side - 1) / 2
        return self.spacing * (modes % self.side - middle), self.spacing * (modes // self.side - middle)


@dataclass(frozen=True, kw_only=True)
class Lines(Toy):
    """Points (0, u) with u uniform in [0, 1), to be met by a line beside them (Arjovsky et al. 2017, example 1)."""

    @property
    def image(self) -> ImageSpec:
        """Two coordinates, no classes."""
        return ImageSpec(1, 1, 2)

    def draw(self, uniform: Uniform) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Draw points."""
        height = uniform("height")
        return points(np.zeros_like(height), height), np.full(len(height), -1)


@dataclass(frozen=True, kw_only=True)
class Corners(Toy):
    """Points on the axes, one at 1 in each coordinate and -1 in the others (Mescheder et al. 2017, section 4.1: 4)."""

    count: int = 4

    @property
    def image(self) -> ImageSpec:
        """A coordinate and a class for each point."""
        return ImageSpec(1, 1, self.count, self.count)

    def draw(self, uniform: Uniform) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Draw points."""
        labels = below(self.count, uniform("point"))
        return points(*(2.0 * (labels == each) - 1 for each in range(self.count))), labels


@dataclass(frozen=True, kw_only=True)
class Digits(Toy):
    """Pictures of one digit in each channel, of varying size, place and brightness (like stacked MNIST).

    The class is the number that the channels write: 1000 classes for three.
    """

    size: int = 28
    channels: int = 3
    texture: float = 0.0
    """Contrast, up to 1, of a random texture: a picture is the difference of digit and texture (like MNIST-M)."""

    @property
    def image(self) -> ImageSpec:
        """size x size."""
        return ImageSpec(self.size, self.size, self.channels, 10**self.channels)

    def draw(self, uniform: Uniform) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Draw pictures."""
        layers, labels = [], np.zeros(1, np.int64)
        for channel in range(self.channels):
            digits = below(10, uniform(f"digit {channel}"))
            largest = self.size // 5
            scale = largest - below(-(-largest // 3), uniform(f"scale {channel}"))  # the upper third of all sizes
            place = [uniform(f"{side} {channel}") for side in ("top", "left")]
            rows, columns = (
                (np.arange(self.size) - below(self.size - high * scale + 1, at)[:, None]) // scale[:, None]
                for high, at in zip(FONT.shape[1:], place, strict=True)
            )  # n size: the row and the column of the glyph
            inside = ((rows >= 0) & (rows < 5))[:, :, None] & ((columns >= 0) & (columns < 3))[:, None]
            glyph = FONT[digits[:, None, None], rows.clip(0, 4)[:, :, None], columns.clip(0, 2)[:, None]]
            bright = 128 + below(128, uniform(f"brightness {channel}"))
            picture = glyph * inside * bright[:, None, None]
            if self.texture:
                picture = np.abs(picture - 255 * self.texture * texture(self.size, channel, uniform))
            layers.append(picture.astype(np.uint8))
            labels = 10 * labels + digits
        return np.stack(layers, -1), labels


def texture(size: int, channel: int, uniform: Uniform) -> NDArray[np.float64]:
    """Return smooth random fields [n, size, size] in [0, 1]: means of three plane waves."""
    y, x = np.mgrid[:size, :size] * (2 * np.pi / size)
    waves = []
    for wave in range(3):
        across, down, phase = (
            uniform(f"{name} {channel} {wave}")[:, None, None] for name in ("across", "down", "phase")
        )
        waves.append(np.cos((8 * across - 4) * x + (8 * down - 4) * y + 2 * np.pi * phase))
    field: NDArray[np.float64] = 0.5 + 0.5 * np.mean(waves, 0)
    return field


def points(*coordinates: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return points [n, 1, 1, coordinates]."""
    return np.stack(coordinates, -1)[:, None, None].astype(np.float32)


def below(limit: int | NDArray[np.int64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Map numbers in [0, 1) to whole numbers in [0, limit)."""
    return (uniform * limit).astype(np.int64)


def normal(uniform: Uniform) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw two independent standard normal numbers for each sample (Box & Muller 1958)."""
    length, angle = np.sqrt(-2 * np.log1p(-uniform("length"))), 2 * np.pi * uniform("angle")
    return length * np.cos(angle), length * np.sin(angle)


KINDS: dict[str, type[Toy]] = {
    "gaussian": Gaussian,
    "dirac": Dirac,
    "ring": Ring,
    "grid": Grid,
    "lines": Lines,
    "corners": Corners,
    "digits": Digits,
}
