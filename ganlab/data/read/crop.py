"""Random crops as functions of (seed, position)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ganlab.data.read.order import mix
from ganlab.keys import key
from ganlab.types import ImageSpec, UserError


class Crop:
    """Square crops of images, the same one of both images of a pair.

    Args:
        size: height and width of a crop, px.
        whole: shape of the images; of pairs, of the two together.
        pairs: an image is two, one above the other.
    """

    def __init__(self, size: int, whole: ImageSpec, pairs: bool) -> None:
        self.whole, self.parts = whole, 2 if pairs else 1
        if not 1 <= size <= min(whole.height // self.parts, whole.width):
            raise UserError(
                f"data.crop: {size}, but the images are {whole.height // self.parts}x{whole.width} px; write at most "
                f"{min(whole.height // self.parts, whole.width)}"
            )
        self.image = replace(whole, height=size * self.parts, width=size)

    def decoded(self, height: int) -> tuple[int, int]:
        """Return the height and width at which images are decoded for crops that are `height` high."""
        at = self.whole.scaled(height, of=self.image.height)
        return at.height, at.width

    def corners(self, positions: NDArray[np.int64], seed: int, height: int) -> list[list[int]]:
        """Draw the tops and lefts of the crops at these positions of a stream, uniformly."""
        rows, columns = self.decoded(height)
        free = (rows // self.parts - height // self.parts, columns - height // self.parts)
        corners = []
        for side, spare in zip(("top", "left"), free, strict=True):
            drawn = mix(positions.astype(np.uint64) ^ np.uint64(key(seed, "crop", side))) >> np.uint64(32)
            corners.append((drawn * np.uint64(spare + 1) >> np.uint64(32)).tolist())
        return corners

    def cut(self, pixels: NDArray[np.generic], top: int, left: int, out: NDArray[np.generic]) -> None:
        """Copy a crop of an image, or of each image of a pair, to `out` [height, width, channels]."""
        high, rows = len(out) // self.parts, len(pixels) // self.parts
        for part in range(self.parts):
            first = part * rows + top
            out[part * high : (part + 1) * high] = pixels[first : first + high, left : left + out.shape[1]]
