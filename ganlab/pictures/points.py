"""Points in the plane: reals and fakes over the discriminator's level sets and gradient."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.pictures.axes import FAKE, GREY, REAL, Axes, round_up

GRID = 64
"""Points a side of which D is asked."""
BANDS = 10
"""Level sets of D that are told apart, half of them below 0."""
LOW, HIGH = (166, 200, 236), (247, 217, 160)
"""Colours of D's lowest and highest output; 0 is white."""
ARROWS, LONGEST = 4, 24.0
"""Grid points from one arrow to the next, and pixels of the longest."""
PIXELS = 410
"""Of the background, a side."""


def where(extent: float) -> NDArray[np.float64]:
    """Return the points of which D is asked [GRID * GRID, 2], row by row from the lowest y on."""
    side = np.linspace(-extent, extent, GRID)
    return np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)


def scatter(
    real: NDArray[np.floating],
    fake: NDArray[np.floating],
    values: NDArray[np.floating] | None = None,
    *,
    extent: float,
    title: str,
) -> Image.Image:
    """Draw reals and fakes [n, 2] in a square from -extent to extent over D's output [GRID * GRID], if there is a D.

    Bands of colour are level sets of D, the dark line is 0, where D cannot tell. Arrows are D's gradient, the way that
    it shows to the fakes. The colours end with D's values where there are points.
    """
    axes = Axes((-extent, extent), (-extent, extent), title)
    if len(real):
        axes.label("reals", REAL)
    if len(fake):
        outside = float((abs(fake) > extent).any(1).mean())
        axes.label("fakes" + f", {outside:.0%} outside" * (outside >= 0.005), FAKE)
    if values is not None:
        surface = values.reshape(GRID, GRID)
        column, row = (
            np.rint((np.concatenate([real, fake]) / extent + 1) / 2 * (GRID - 1)).clip(0, GRID - 1).T.astype(int)
        )
        most = round_up(float(abs(surface[row, column]).max()))
        axes.background(bands(surface / most))
        some = np.s_[ARROWS // 2 :: ARROWS, ARROWS // 2 :: ARROWS]
        rise = np.stack(np.gradient(surface)[::-1], -1)[some].reshape(-1, 2)
        axes.arrows(where(extent).reshape(GRID, GRID, 2)[some].reshape(-1, 2), rise, LONGEST, GREY)
        axes.label(f"D at {-most:g}", LOW)
        axes.label(f"D at {most:g}", HIGH)
    axes.dots(real, REAL, 2.2)
    axes.dots(fake, FAKE, 1.3, 170)
    return axes.picture()


def bands(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour values on a grid, the lowest row first, as an image [PIXELS, PIXELS, 3]; beyond -1 and 1 as there."""
    fine = np.asarray(
        Image.fromarray(values.astype(np.float32)[::-1]).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
    )
    band = np.clip(np.floor(fine * BANDS / 2), -BANDS // 2, BANDS // 2 - 1)
    strength = ((band + 0.5) / (BANDS / 2))[..., None]
    low, high = np.array(LOW) - 255, np.array(HIGH) - 255
    colours = 255 + np.where(strength < 0, -strength * low, strength * high)
    sides = fine > 0
    edge = np.zeros_like(sides)
    edge[1:] |= sides[1:] != sides[:-1]
    edge[:, 1:] |= sides[:, 1:] != sides[:, :-1]
    colours[edge] = 90
    pixels: NDArray[np.uint8] = colours.astype(np.uint8)
    return pixels
