"""ADA's colour operations: one affine map of each image's colours (Karras et al. 2020, appendix B)."""

import math
from functools import reduce

import torch
from torch import Tensor

from ganlab.augment.matrices import Rows, matrices, product
from ganlab.types import Images

DRAWS = 7, 3


def colour_maps(uniform: Tensor, normal: Tensor, p: Tensor) -> Tensor:
    """Return maps [n, 4, 4] of (red, green, blue, 1); a coin that is tails makes its factor the identity.

    Args:
        uniform, normal: random numbers [n, DRAWS].
        p: probability of heads [n].
    """
    heads = uniform[:, :5] < p[:, None]
    brightness, contrast, luma, hue, saturation = heads.to(uniform.dtype).unbind(1)
    flip, turn = uniform[:, 5:].unbind(1)
    brighter, stronger, richer = normal.unbind(1)
    steps = (  # the last one acts first
        along_luma(torch.ones_like(p), 2 ** (saturation * richer)),
        turned(math.pi * hue * (2 * turn - 1)),
        along_luma(1 - 2 * luma * (2 * flip).floor(), torch.ones_like(p)),
        diagonal(2 ** (0.5 * contrast * stronger)),
        shifted(0.2 * brightness * brighter),
    )
    return reduce(product, steps)


def diagonal(factor: Tensor) -> Tensor:
    """Return maps that multiply."""
    return matrices([[factor, 0, 0, 0], [0, factor, 0, 0], [0, 0, factor, 0], [0, 0, 0, 1]], factor)


def shifted(by: Tensor) -> Tensor:
    """Return maps that add."""
    return matrices([[1, 0, 0, by], [0, 1, 0, by], [0, 0, 1, by], [0, 0, 0, 1]], by)


def along_luma(grey: Tensor, rest: Tensor) -> Tensor:
    """Return maps that multiply the part along the grey axis by one factor, and what is left by another one."""
    both, one = (grey + 2 * rest) / 3, (grey - rest) / 3
    return matrices([[both, one, one, 0], [one, both, one, 0], [one, one, both, 0], [0, 0, 0, 1]], grey)


def turned(angle: Tensor) -> Tensor:
    """Return maps that turn around the grey axis (Rodrigues' formula)."""
    cos, sin = angle.cos(), angle.sin() / math.sqrt(3)
    same, next_, last = (1 + 2 * cos) / 3, (1 - cos) / 3 - sin, (1 - cos) / 3 + sin
    rows: Rows = [[same, next_, last, 0], [last, same, next_, 0], [next_, last, same, 0], [0, 0, 0, 1]]
    return matrices(rows, angle)


def recoloured(images: Images, uniform: Tensor, normal: Tensor, p: Tensor) -> Images:
    """Map colours; an image whose map is the identity stays, bit for bit.

    A grey image gets what its map makes of grey, on average. Alpha, the fourth channel, stays.
    """
    colours, alpha = images[:, :3], images[:, 3:]
    maps = colour_maps(uniform, normal, p)[:, :3]
    same = (maps == torch.eye(4, dtype=maps.dtype, device=maps.device)[:3]).all(2).all(1)
    matrix, offset = maps[..., :3], maps[:, :, 3, None, None]  # n 3 3, n 3 1 1
    if images.shape[1] == 1:
        mapped = images * matrix.sum(2).mean(1).view(-1, 1, 1, 1) + offset.mean(1, keepdim=True)
    else:
        mapped = sum((matrix[:, :, k, None, None] * colours[:, k : k + 1] for k in range(3)), offset)
    return torch.cat([torch.where(same.view(-1, 1, 1, 1), colours, mapped), alpha], 1)
