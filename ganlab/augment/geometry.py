"""ADA's geometric operations: one affine map of each image, and its application without aliasing.

A map is inverse: it takes places of the result to places of the image, in pixels from the centre. (Karras et al. 2020,
appendix B.)
"""

import math

import torch
from torch import Tensor

from ganlab.augment.constants import constants
from ganlab.types import Images

DRAWS = 14, 4
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
"""The low-pass filter of the symlet with six vanishing moments, whose shifts by two are orthonormal."""
TAPS = len(SYM6)
AROUND = TAPS // 2 - 1
"""Doubled pixels beyond each side of the result of which the halving filter takes a share."""
MARGIN = (AROUND + 1) // 2
"""Pixels beyond each side of the image that are doubled with it: what comes from within it is then exact."""


def turning(angle: Tensor) -> Tensor:
    """Return the matrices [..., 2, 2] of turning by angles [...]."""
    cos, sin = angle.cos(), angle.sin()
    matrices: Tensor = torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2))
    return matrices


def product(first: Tensor, second: Tensor) -> Tensor:
    """Return `first @ second`, [n, i, j] by [n, j, k]: without TF32, which would move pixels."""
    return (first[..., None] * second[:, None]).sum(2)


def inverse_maps(uniform: Tensor, normal: Tensor, blit: Tensor, geometry: Tensor, height: int, width: int) -> Tensor:
    """Return each image's map [n, 2, 3], linear part and offset; a coin that is tails makes its factor the identity.

    Args:
        uniform, normal: random numbers [n, DRAWS].
        blit, geometry: probabilities of heads [n]. Of the two turns by any angle, before and after the stretching, at
            least one happens with `geometry`.
        height, width: of the images, px.
    """
    turn, sides = 1 - (1 - geometry).clamp(0, 1).sqrt(), constants([float(width), float(height)], uniform)
    heads = uniform[:, :8] < torch.stack([blit, blit, blit, geometry, turn, geometry, turn, geometry], 1)
    mirror, quarter, shift, scale, before, stretch, after, move = heads.to(uniform.dtype).unbind(1)
    side, quarters, *_, first, second = uniform[:, 8:].unbind(1)
    larger, wider, *_ = normal.unbind(1)
    flip = torch.stack([1 - 2 * mirror * (2 * side).floor(), torch.ones_like(side)], 1)
    angles = quarter * (4 * quarters).floor() / 2, before * (2 * first - 1), after * (2 * second - 1)
    quarter_turn, turn_before, turn_after = turning(math.pi * torch.stack(angles, 1)).unbind(1)
    stretching = 2 ** (0.2 * torch.stack([-stretch * wider, stretch * wider], 1))
    shifting = -shift[:, None] * ((uniform[:, 10:12] - 0.5) / 4 * sides).round()
    moving = -move[:, None] * normal[:, 2:] / 8 * sides
    # flip, quarter turn, (... + shifting) of scale, turn, stretching, turn of (... + moving)
    outer = flip[:, :, None] * quarter_turn
    inner = product(turn_before * stretching[:, None], turn_after) * (2 ** (-0.2 * scale * larger))[:, None, None]
    offset = product(outer, product(inner, moving[..., None]) + shifting[..., None])
    return torch.cat([product(outer, inner), offset], 2)


def warped(images: Images, inverse: Tensor) -> Images:
    """Map images; one whose map is the identity stays as it is, bit for bit.

    They are doubled with the wavelet's filter, taken at four places per pixel of the result, linearly, and halved with
    the same filter. Images go on as their reflections at any distance, of which those beyond `MARGIN` are of the
    doubled image. (The paper's code pads with what the largest map of the batch needs, and has grey beyond one
    reflection; its shapes depend on what was drawn.)
    """
    n, _, height, width = images.shape
    places = (torch.arange(2 * size + 2 * AROUND, device=images.device) for size in (height, width))
    y, x = ((at - AROUND) / 2 - (size - 1) / 2 for at, size in zip(places, (height, width), strict=True))
    a, b, c = inverse[..., None, None].unbind(2)  # n 2 1 1
    across, along = (a * x + b * y[:, None] + c).unbind(1)  # n rows columns
    column, row = (2 * folded(at + (size - 1) / 2, size) for at, size in ((across, width), (along, height)))
    double = along_both(doubling(height, images), images, doubling(width, images))
    warped = along_both(halving(height, images), taken(double, row, column), halving(width, images))
    same = (inverse == torch.eye(2, 3, dtype=inverse.dtype, device=inverse.device)).all(2).all(1)
    return torch.where(same.view(n, 1, 1, 1), images, warped)


def reflected(at: Tensor, size: int) -> Tensor:
    """Fold places, in pixels from the first one's centre, into [0, size - 1]; the ends are not repeated."""
    period = 2 * (size - 1)
    rest = at.remainder(period)
    return torch.minimum(rest, period - rest)


def folded(at: Tensor, size: int) -> Tensor:
    """Return where in a padded image places are: those beyond its margin are reflected into the image itself."""
    beside = (at < -MARGIN) | (at > size - 1 + MARGIN)
    return torch.where(beside, reflected(at, size), at) + MARGIN


def padded(images: Tensor, px: int) -> Tensor:
    """Extend images by their reflections, by any number of pixels."""
    for dim in (2, 3):
        size = images.shape[dim]
        at = reflected(torch.arange(-px, size + px, device=images.device), size)
        images = images.index_select(dim, at)
    return images


def taken(images: Images, row: Tensor, column: Tensor) -> Tensor:
    """Interpolate linearly at places [n, rows, columns], which must lie between the first and the last pixel's centre.

    Four gathers: torch's own operation for it has no second derivative before 2.15, which penalties need.
    """
    n, channels, _, width = images.shape
    top, left = row.floor(), column.floor()
    lower, right = (row - top)[:, None], (column - left)[:, None]  # n 1 rows columns
    at = (top.long() * width + left.long()).flatten(1)[:, None]  # n 1 places
    pixels = images.flatten(2)
    corners = [
        pixels.gather(2, (at + by).expand(-1, channels, -1)).view(n, channels, *row.shape[1:])
        for by in (0, 1, width, width + 1)
    ]
    above, below = corners[0].lerp(corners[1], right), corners[2].lerp(corners[3], right)
    return above.lerp(below, lower)


def doubling(size: int, like: Tensor) -> Tensor:
    """Return the matrix [2 (size + 2 MARGIN), size] that doubles a side with its margin, beyond which it is reflected.

    Pixel j's centre becomes that of the new pixel 2 j: the filter's largest tap is not between two.
    """
    around = MARGIN + TAPS // 4
    new = torch.arange(2 * (size + 2 * MARGIN), device=like.device) - 2 * MARGIN
    old = torch.arange(-around, size + around, device=like.device)
    shares = math.sqrt(2) * taps_at(new[:, None] - 2 * old + AROUND, like)
    return like.new_zeros(len(new), size).index_add(1, reflected(old, size), shares)


def halving(size: int, like: Tensor) -> Tensor:
    """Return the matrix [size, 2 (size + AROUND)] that undoes the doubling of a side with `AROUND` pixels beyond it."""
    new = torch.arange(size, device=like.device)
    old = torch.arange(2 * (size + AROUND), device=like.device)
    return taps_at(old - 2 * new[:, None], like) / math.sqrt(2)


def taps_at(places: Tensor, like: Tensor) -> Tensor:
    """Return the filter's taps at integer places; 0 beyond them."""
    taps = constants(SYM6, like)
    return torch.where((places >= 0) & (places < TAPS), taps[places.clamp(0, TAPS - 1)], 0)


def along_both(rows: Tensor, images: Tensor, columns: Tensor) -> Tensor:
    """Multiply images [n, c, h, w] by matrices [H, h] and [W, w] from both sides."""
    return rows @ images @ columns.T
