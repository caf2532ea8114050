"""Pictures of byte arrays, and PNG files, without torch."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.files import atomic_write
from ganlab.types import UserError

SMALLEST_CELL = 48
"""Pixels a side, of a square of the same area; smaller images are enlarged by an integer factor."""
GAP = 2
"""Pixels between images, and around them."""


LARGEST = 4096
"""Pixels a side that a sheet may have: video players and Pillow's own limit refuse larger ones."""


def enlargement(height: int, width: int) -> int:
    """Return the factor by which images of that size are enlarged."""
    return max(1, -(-SMALLEST_CELL // math.isqrt(height * width)))


def fitting(height: int, width: int, margin: int) -> tuple[int, int]:
    """Return how many rows and columns of images a sheet may have, with a column of captions `margin` px wide."""
    cells = [enlargement(height, width) * side + GAP for side in (height, width)]
    rows, columns = (LARGEST - GAP) // cells[0], (LARGEST - GAP - margin) // cells[1]
    return max(rows, 1), max(columns, 1)


def tile(images: NDArray[np.uint8], columns: int, frame: int = 255) -> Image.Image:
    """Tile images [n, height, width, 1 or 3 or 4] row by row, with no more columns than images; grey ones as RGB.

    `frame` is the grey level between them, 0-255.
    """
    if images.shape[-1] == 1:
        images = images.repeat(3, -1)
    enlarge = enlargement(images.shape[1], images.shape[2])
    cells = images.repeat(enlarge, 1).repeat(enlarge, 2)
    n, height, width, channels = cells.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), frame, np.uint8)
    for number, cell in enumerate(cells):
        top, left = (k * (size + GAP) + GAP for k, size in zip(divmod(number, columns), (height, width), strict=True))
        sheet[top : top + height, left : left + width] = cell
    return picture(sheet)


def picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """Convert one image [height, width, 1 or 3 or 4] to a PIL image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a PNG atomically; `UserError` for the name of another format."""
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: pictures are written as PNG; name it {path.with_suffix('.png')}")
    with atomic_write(path) as file:
        picture.save(file, format="PNG")
