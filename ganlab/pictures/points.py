"""Points as dots in a square."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, DOT = 256, 1
"""Pixels of the square, one for each level of a coordinate; and pixels around a point's own that are black too."""


def scatter(points: NDArray[np.uint8]) -> Image.Image:
    """Draw points [n, 1 or more] on white: x to the right, y upwards; points of one coordinate lie in the middle."""
    sheet = np.full((SIDE, SIDE), 255, np.uint8)
    x = points[:, 0].astype(int)
    y = 255 - points[:, 1].astype(int) if points.shape[1] > 1 else np.full(len(x), SIDE // 2)
    for down in range(-DOT, DOT + 1):
        for right in range(-DOT, DOT + 1):
            sheet[(y + down).clip(0, SIDE - 1), (x + right).clip(0, SIDE - 1)] = 0
    return Image.fromarray(sheet).convert("RGB")
