"""A plot: a box with ticks, into which lines, areas, dots and arrows are drawn, and a legend above it."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ganlab.pictures.captions import font_of

Colour = tuple[int, int, int]
Range = tuple[float, float]
SIDE = 512
"""Width and height of a plot, px."""
FINE = 2
"""Everything is drawn so many times larger and then shrunk, which smooths its edges."""
LEFT, RIGHT, TOP, BOTTOM = 46, 56, 62, 40
"""Margins around the box, px, which is a square: a circle of the data is one."""
TEXT = 13.0
BLACK, GREY, REAL, FAKE, CRITIC = (20, 20, 20), (150, 150, 150), (80, 80, 80), (213, 70, 0), (0, 90, 181)
"""Colours that stay apart to the colour-blind, and in print."""


class Axes:
    """A plot over x and y in the units of the data.

    Args:
        x, y: ranges of the box.
        title: text above the legend.
        right: range of another quantity, whose ticks are at the right of the box; None if there is none.
    """

    def __init__(self, x: Range, y: Range, title: str, right: Range | None = None) -> None:
        self.x, self.y, self.title, self.right = x, y, title, right
        self.sheet = Image.new("RGB", (SIDE * FINE, SIDE * FINE), "white")
        self.draw = ImageDraw.Draw(self.sheet, "RGBA")
        self.font = font_of(TEXT * FINE)
        self.box = FINE * LEFT, FINE * TOP, FINE * (SIDE - RIGHT), FINE * (SIDE - BOTTOM)
        self.labels: list[tuple[str, Colour]] = []

    def at(self, x: Any, y: Any) -> NDArray[np.float64]:
        """Return the pixels of points [n, 2]."""
        left, top, right, bottom = self.box
        across = left + (np.asarray(x, np.float64) - self.x[0]) / (self.x[1] - self.x[0]) * (right - left)
        down = bottom - (np.asarray(y, np.float64) - self.y[0]) / (self.y[1] - self.y[0]) * (bottom - top)
        return np.stack(np.broadcast_arrays(across, down), -1)

    def label(self, text: str, colour: Colour) -> None:
        """Add a line to the legend."""
        self.labels.append((text, colour))

    def background(self, pixels: NDArray[np.uint8]) -> None:
        """Fill the box with an image [h, w, 3], whose first row is the top."""
        left, top, right, bottom = self.box
        image = Image.fromarray(pixels).resize((right - left, bottom - top), Image.Resampling.NEAREST)
        self.sheet.paste(image, (left, top))

    def line(self, x: Any, y: Any, colour: Colour, width: float = 2.0) -> None:
        """Draw a line through points."""
        points = self.at(x, y)
        self.draw.line([*map(tuple, points.tolist())], fill=colour, width=round(width * FINE), joint="curve")

    def area(self, x: Any, y: Any, colour: Colour, opacity: int = 60) -> None:
        """Fill from a line down to y = 0."""
        points = self.at([x[0], *x, x[-1]], [0, *y, 0])
        self.draw.polygon([*map(tuple, points.tolist())], fill=(*colour, opacity))

    def dots(self, points: NDArray[Any], colour: Colour, radius: float = 1.5, opacity: int = 255) -> None:
        """Draw points [n, 2]."""
        for across, down in self.at(points[:, 0], points[:, 1]).tolist():
            r = radius * FINE
            self.draw.ellipse((across - r, down - r, across + r, down + r), fill=(*colour, opacity))

    def arrows(self, points: NDArray[Any], directions: NDArray[Any], longest: float, colour: Colour) -> None:
        """Draw an arrow from each point [n, 2]; the longest direction [n, 2] becomes `longest` px."""
        starts = self.at(points[:, 0], points[:, 1])
        across = directions * [1, -1] * FINE * longest / max(np.hypot(*directions.T).max(), 1e-30)
        for start, way in zip(starts, across, strict=True):
            if (length := math.hypot(*way)) < 2 * FINE:
                continue
            tip, along = start + way, way / length
            head = min(4.0 * FINE, length / 2)
            sides = [tip - head * along + head * 0.45 * k * along[::-1] * [1, -1] for k in (-1, 1)]
            self.draw.line([tuple(start), tuple(tip - head * along)], fill=colour, width=FINE)
            self.draw.polygon([tuple(tip), *map(tuple, sides)], fill=colour)

    def picture(self) -> Image.Image:
        """Clear the margins, draw frame, ticks and legend, and return the plot at its size."""
        (left, top, right, bottom), end = self.box, SIDE * FINE
        for margin in (
            (0, 0, left - 1, end),
            (0, 0, end, top - 1),
            (0, bottom + 1, end, end),
            (right + 1, 0, end, end),
        ):
            self.draw.rectangle(margin, fill="white")
        self.draw.rectangle(self.box, outline=BLACK, width=FINE)
        for value in ticks(*self.x):
            self.tick(self.at(value, self.y[0]).tolist(), (0, 5), value, "mt")
        for value in ticks(*self.y):
            self.tick(self.at(self.x[0], value).tolist(), (-5, 0), value, "rm")
        low, high = self.right or (0.0, 0.0)
        for value in ticks(low, high) if self.right else ():
            height = (value - low) / (high - low) * (bottom - top)
            self.tick([right, bottom - height], (5, 0), value, "lm")
        self.draw.text((left, FINE * 12), self.title, fill=BLACK, font=self.font)
        across = float(left)
        for text, colour in self.labels:
            self.draw.rectangle((across, FINE * 38, across + FINE * 10, FINE * 48), fill=colour)
            self.draw.text((across + FINE * 14, FINE * 43), text, fill=BLACK, font=self.font, anchor="lm")
            across += FINE * 28 + self.font.getlength(text)
        return self.sheet.reduce(FINE)

    def tick(self, place: list[float], outwards: tuple[int, int], value: float, anchor: str) -> None:
        """Draw a tick at the edge of the box, and its number beside it."""
        (across, down), (dx, dy) = place, (FINE * outwards[0], FINE * outwards[1])
        self.draw.line((across, down, across + dx, down + dy), fill=BLACK, width=FINE)
        self.draw.text((across + 1.6 * dx, down + 1.6 * dy), f"{value:g}", fill=BLACK, font=self.font, anchor=anchor)


def round_up(value: float) -> float:
    """Return the next larger of 1, 2 or 5 times a power of ten, so that axes of many pictures seldom change.

    At least 1e-4: a discriminator that says nothing is a flat line.
    """
    value = max(value, 1e-4)
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * (1 - 1e-9))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from `low` to `high`, about `most` of them."""
    step = round_up((high - low) / most)
    return [round(k * step, 12) + 0.0 for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
