"""Laplacian pyramids of images (Burt & Adelson 1983; Denton et al. 2015, section 2.2)."""

from itertools import pairwise

from torch import Tensor
from torch.nn import functional as F

from ganlab.types import Images


def at_height(images: Images, height: int) -> Tensor:
    """Average squares of pixels until images are `height` px high."""
    factor = images.shape[2] // height
    return F.avg_pool2d(images, factor) if factor > 1 else images


def doubled(images: Tensor) -> Tensor:
    """Double both sides, linearly."""
    return F.interpolate(images, scale_factor=2, mode="bilinear")


def pyramid(images: Images, smallest: int) -> list[Tensor]:
    """Return the smallest image, then the detail that each larger one has beside its doubled coarse one (eq. 2)."""
    heights = [images.shape[2]]
    while heights[0] > smallest:
        heights.insert(0, heights[0] // 2)
    sizes = [at_height(images, height) for height in heights]
    return [sizes[0], *(large - doubled(small) for small, large in pairwise(sizes))]


def collapsed(parts: list[Tensor]) -> Tensor:
    """Return the image of a pyramid (eq. 3)."""
    images, *details = parts
    for detail in details:
        images = doubled(images) + detail
    return images
