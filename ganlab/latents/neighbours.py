"""The real images that are nearest to a generated one."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganlab.evaluation.images import BLOCK, Decoded
from ganlab.types import Pixels

MOST = 10_000
"""Real images that are compared."""
SECONDS = 20.0
"""For reading them; what has been read by then is compared."""
SIDE = 32
"""Larger images are compared at this height and width, px: pixels of large ones say little."""
SHOWN = 8


@dataclass(frozen=True)
class Neighbour:
    """A real image, by number, and the root mean square of what a generated one differs from it, of a range of 1."""

    number: int
    distance: float
    pixels: Tensor
    """uint8 [c, h, w]."""


class Reals:
    """The first images of a run's data, read once."""

    def __init__(self, images: Decoded) -> None:
        self.images, found, start, until = images, list[Tensor](), 0, monotonic() + SECONDS
        while start < min(len(images), MOST) and monotonic() < until:
            found.append(small(images.block(start)[0]))
            start += BLOCK
        self.known = torch.cat(found)[:MOST]

    def nearest(self, image: Tensor) -> Sequence[Neighbour]:
        """Return the nearest real images of one [c, h, w], the nearest first."""
        distances = torch.cdist(small(image[None]), self.known)[0] / self.known.shape[1] ** 0.5
        near = distances.argsort()[:SHOWN].tolist()
        read = [torch.from_numpy(self.images.read(number)[0]).permute(2, 0, 1) for number in near]
        return [Neighbour(i, float(distances[i]), pixels) for i, pixels in zip(near, read, strict=True)]


def small(images: Pixels) -> Tensor:
    """Return images [n, c, h, w] as vectors [n, d] in [0, 1]."""
    floats = images.float() / 255
    height, width = (min(size, SIDE) for size in images.shape[2:])
    return adaptive_avg_pool2d(floats, (height, width)).flatten(1)
