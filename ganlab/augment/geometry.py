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
    quarters = quarter * (4 * quarters).floor() / 2
    angles = quarters, quarters + before * (2 * first - 1), after * (2 * second - 1)
    quarter_turn, turn_before, turn_after = turning(math.pi * torch.stack(angles, 1)).unbind(1)
    smaller, narrower = scale * larger, stretch * wider
    stretching = 2 ** (-0.2 * torch.stack([smaller + narrower, smaller - narrower], 1))
    shifting = -shift[:, None] * ((uniform[:, 10:12] - 0.5) / 4 * sides).round()
    moving = -move[:, None] * normal[:, 2:] / 8 * sides
    # flip, quarter turn, (... + shifting) of turn, scale and stretching, turn of (... + moving)
    linear = flip[:, :, None] * product(turn_before * stretching[:, None], turn_after)
    offset = linear * moving[:, None] + flip[:, :, None] * quarter_turn * shifting[:, None]
    return torch.cat([linear, offset.sum(2, keepdim=True)], 2)


def warped(images: Images, inverse: Tensor) -> Images:
    """Map images; one whose map is the identity stays as it is, bit for bit.

    They are doubled with the wavelet's filter, taken at four places per pixel of the result, linearly, and halved with
    the same filter. Images go on as their reflections at any distance, of which those beyond `MARGIN` are of the
    doubled image. (The paper's code pads with what the largest map of the batch needs, and has grey beyond one
    reflection; its shapes depend on what was drawn.)
    """
    n, _, height, width = images.shape
    y, x = (
        (torch.arange(2 * size + 2 * AROUND, device=images.device) - AROUND) / 2 - (size - 1) / 2
        for size in (height, width)
    )
    a, b, c = inverse[..., None, None].unbind(2)  # n 2 1 1
    across, along = (a * x + b * y[:, None] + c).unbind(1)  # n rows columns
    column, row = (2 * folded(at + (size - 1) / 2, size) for at, size in ((across, width), (along, height)))
    taps = constants((0.0, *SYM6, 0.0), images)
    twice, half = ({size: matrix(size, taps) for size in {height, width}} for matrix in (doubling, halving))
    doubled = twice[height] @ images @ twice[width].T
    warped = half[height] @ taken(doubled, row, column) @ half[width].T
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
    here = top.long() * width + left.long()
    corner = torch.arange(2, device=row.device)
    by = (width * corner[:, None] + corner).view(4, 1, 1)  # here and right, lower left and right
    at = (here[:, None] + by).view(n, 1, -1).expand(-1, channels, -1)
    corners = images.flatten(2).gather(2, at).view(n, channels, 2, 2, *row.shape[1:])
    first, last = corners.unbind(3)
    above, below = first.lerp(last, right[:, :, None]).unbind(2)
    return above.lerp(below, lower)


def doubling(size: int, taps: Tensor) -> Tensor:
    """Return the matrix [2 (size + 2 MARGIN), size] that doubles a side with its margin, beyond which it is reflected.

    Pixel j's centre becomes that of the new pixel 2 j: the filter's largest tap is not between two.
    """
    around = MARGIN + TAPS // 4
    new = torch.arange(2 * (size + 2 * MARGIN), device=taps.device) - 2 * MARGIN
    old = torch.arange(-around, size + around, device=taps.device)
    shares = math.sqrt(2) * taps_at(new[:, None] - 2 * old + AROUND, taps)
    return taps.new_zeros(len(new), size).index_add(1, reflected(old, size), shares)


def halving(size: int, taps: Tensor) -> Tensor:
    """Return the matrix [size, 2 (size + AROUND)] that undoes the doubling of a side with `AROUND` pixels beyond it."""
    new = torch.arange(size, device=taps.device)
    old = torch.arange(2 * (size + AROUND), device=taps.device)
    return taps_at(old - 2 * new[:, None], taps) / math.sqrt(2)


def taps_at(places: Tensor, taps: Tensor) -> Tensor:
    """Return the filter's taps at integer places, from taps with a 0 at both ends; 0 beyond them."""
    return taps[(places + 1).clamp(0, TAPS + 1)]
