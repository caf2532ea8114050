"""Vector fields in the plane: the way of a game's two parameters, eigenvalues of a Jacobian, and what has a curl."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.pictures.axes import BLACK, CRITIC, FAKE, GREY, REAL, Axes, round_up
from ganlab.pictures.points import ARROWS, GRID, HIGH, LONGEST, LOW, bands, where

SIDE = 11
"""Arrows in a row."""
COLOURS = (GREY, FAKE, CRITIC)
EXTENT = 1.0
"""Of a field with its curl."""


def extent_of(path: NDArray[np.floating]) -> float:
    """Return half the side of a square around 0 that holds a path [n, 2], with room around it."""
    return round_up(1.1 * float(abs(path).max()))


def places(extent: float) -> NDArray[np.float64]:
    """Return where the arrows begin [SIDE^2, 2]."""
    line = np.linspace(-extent, extent, SIDE + 2)[1:-1]
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def trajectory(
    path: NDArray[np.floating], directions: NDArray[np.floating], *, names: tuple[str, str], title: str
) -> Image.Image:
    """Draw the path [n, 2] of two parameters, over the directions [SIDE^2, 2] in which the field moves them."""
    extent = extent_of(path)
    axes = Axes((-extent, extent), (-extent, extent), title)
    axes.arrows(places(extent), directions, 22.0, GREY)
    axes.line(path[:, 0], path[:, 1], FAKE, 1.5)
    axes.dots(path[:1], BLACK, 3.0)
    axes.dots(path[-1:], FAKE, 4.5)
    axes.label(f"{names[0]} (across), {names[1]} (up): {path[-1, 0]:.3g}, {path[-1, 1]:.3g}", FAKE)
    return axes.picture()


def eigenvalues(sets: Mapping[str, NDArray[np.complexfloating]], step: float, title: str) -> Image.Image:
    """Draw sets of eigenvalues [d] of -J in the complex plane, and where a step of that size converges.

    It does inside of the circle |1 + step lambda| = 1, all of which lies at the left of the imaginary axis.
    """
    most = round_up(1.2 * max(float(abs(values).max()) for values in sets.values()))
    axes = Axes((-most, most), (-most, most), title)
    turn = np.exp(1j * np.linspace(-np.pi, np.pi, 2_001))
    disc = (turn - 1) / step
    axes.area(disc.real, disc.imag, CRITIC, 25)
    axes.line([0, 0], [-most, most], GREY, 1.0)
    axes.line([-most, most], [0, 0], GREY, 0.5)
    for (name, values), colour in zip(sets.items(), COLOURS, strict=False):
        axes.dots(np.stack([values.real, values.imag], -1), colour, 5.0)
        axes.label(name, colour)
    return axes.picture()


def spinning(
    points: NDArray[np.floating], ways: NDArray[np.floating], curl: NDArray[np.floating], *, title: str
) -> Image.Image:
    """Draw points [n, 2] over a field [GRID^2, 2] and bands of its curl [GRID^2], at the places `where(EXTENT)`."""
    axes = Axes((-EXTENT, EXTENT), (-EXTENT, EXTENT), title)
    most = round_up(float(abs(curl).max()))
    axes.background(bands(curl.reshape(GRID, GRID) / most))
    some = np.arange(GRID**2).reshape(GRID, GRID)[ARROWS // 2 :: ARROWS, ARROWS // 2 :: ARROWS].ravel()
    axes.arrows(where(EXTENT)[some], ways[some], LONGEST, GREY)
    axes.dots(points, REAL, 2.2)
    axes.label("reals", REAL)
    axes.label(f"curl {-most:g}", LOW)
    axes.label(f"curl {most:g}", HIGH)
    return axes.picture()


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Put two pictures side by side."""
    sheet = Image.new("RGB", (left.width + right.width, max(left.height, right.height)), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width, 0))
    return sheet
