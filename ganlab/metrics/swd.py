"""The sliced Wasserstein distance between patches of two sets of images, per level, without a trained network."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ganlab.keys import key

PATCH = 7
PATCHES = 128
"""Patches per image and level."""
DIRECTIONS = 512
"""Directions of projection: four repeats of 128."""
SMALLEST = 16
"""Pixels of the coarsest level."""
BLUR = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
COLUMNS = 16
"""Directions whose projections of all patches are sorted at once."""


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Return the levels of images [n, c, h, w], finest first (Burt & Adelson 1983); the last holds what is left.

    It is of 16 px, or larger where a size cannot be halved further.
    """
    levels = []
    while min(images.shape[-2:]) >= 2 * SMALLEST and not any(size % 2 for size in images.shape[-2:]):
        coarser = _down(images)
        levels.append(images - _up(coarser))
        images = coarser
    return [*levels, images]


def descriptors(images: Tensor, seed: int) -> list[Tensor]:
    """Cut 128 patches of 7x7 px at random places of each image and level: a [n * 128, c, 7, 7] for each level.

    `images` [n, c, h, w] are bytes or floats in 0..255.
    """
    found = []
    for number, level in enumerate(laplacian_pyramid(images.float())):
        draw = torch.Generator().manual_seed(key(seed, "patches", number))
        n, _, height, width = level.shape
        down, right = (
            torch.randint(size - PATCH + 1, (n, PATCHES, 1, 1), generator=draw).to(level.device)
            for size in (height, width)
        )
        at = torch.arange(PATCH, device=level.device)
        image = torch.arange(n, device=level.device)[:, None, None, None]
        cut = level[image, :, down + at[:, None], right + at]  # n patches 7 7 c
        found.append(cut.permute(0, 1, 4, 2, 3).flatten(0, 1))
    return found


def sliced_wasserstein(a: Tensor, b: Tensor, *, seed: int = 0) -> float:
    """Return 1000 times the mean distance of sorted projections of patches [n, c, 7, 7], equally many on both sides.

    Karras et al. 2018, section 5: each side's channels are normalised to mean 0 and deviation 1, and the
    one-dimensional Wasserstein-1 distance is averaged over random directions.
    """
    assert len(a) == len(b), (len(a), len(b))
    draw = torch.Generator().manual_seed(key(seed, "directions"))
    directions = torch.randn(a[0].numel(), DIRECTIONS, generator=draw).to(a.device)
    directions = directions / directions.norm(dim=0)
    a, b = _normal(a), _normal(b)
    distances = [
        (a.flatten(1) @ some).sort(0).values.sub((b.flatten(1) @ some).sort(0).values).abs().mean()
        for some in directions.split(COLUMNS, 1)
    ]
    return float(torch.stack(distances).mean()) * 1e3


def _normal(patches: Tensor) -> Tensor:
    deviation, mean = torch.std_mean(patches, (0, 2, 3), correction=0, keepdim=True)
    return (patches - mean) / deviation


def _kernel(channels: int, like: Tensor) -> Tensor:
    line = torch.tensor(BLUR, dtype=like.dtype, device=like.device)
    return torch.outer(line, line).expand(channels, 1, 5, 5)


def _down(images: Tensor) -> Tensor:
    channels = images.shape[1]
    return F.conv2d(F.pad(images, (2, 2, 2, 2), "reflect"), _kernel(channels, images), stride=2, groups=channels)


def _up(images: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    wide = images.new_zeros(n, channels, 2 * height, 2 * width)
    wide[:, :, ::2, ::2] = images
    return F.conv2d(F.pad(wide, (2, 2, 2, 2), "reflect"), 4 * _kernel(channels, images), groups=channels)
