"""ADA's colour operations: one affine map of each image's colours (Karras et al. 2020, appendix B)."""

import math

import torch
from torch import Tensor

from ganlab.types import Images

DRAWS = 7, 3


def colour_maps(uniform: Tensor, normal: Tensor, p: Tensor) -> Tensor:
    """Return what an image's own channel, the next one, the one after it and 1 count in a channel's new value [n, 4].

    Brightness, contrast, luma flip, hue and saturation are the same for all channels in a circle: they multiply the
    part along the grey axis by one number, and turn and multiply the rest. So they need no matrix product. A coin that
    is tails makes its operation the identity.

    Args:
        uniform, normal: random numbers [n, DRAWS].
        p: probability of heads [n].
    """
    heads = uniform[:, :5] < p[:, None]
    brightness, contrast, luma, hue, saturation = heads.to(uniform.dtype).unbind(1)
    flip, turn = uniform[:, 5:].unbind(1)
    brighter, stronger, richer = normal.unbind(1)
    factor = 2 ** (0.5 * contrast * stronger)
    grey = factor * (1 - 2 * luma * (2 * flip).floor())
    rest, angle = factor * 2 ** (saturation * richer), math.pi * hue * (2 * turn - 1)
    cos, sin = rest * angle.cos(), rest * angle.sin() / math.sqrt(3)  # of Rodrigues' formula
    own, other = (grey + 2 * cos) / 3, (grey - cos) / 3
    return torch.stack([own, other - sin, other + sin, grey * 0.2 * brightness * brighter], 1)


def recoloured(images: Images, uniform: Tensor, normal: Tensor, p: Tensor) -> Images:
    """Map colours. A grey image gets what its map makes of grey. Alpha, the fourth channel, stays."""
    own, next_, last, offset = colour_maps(uniform, normal, p)[..., None, None, None].unbind(1)  # n 1 1 1
    if images.shape[1] == 1:
        return (own + next_ + last) * images + offset
    colours, alpha = images[:, :3], images[:, 3:]
    mapped = own * colours + next_ * colours.roll(-1, 1) + last * colours.roll(-2, 1) + offset
    return torch.cat([mapped, alpha], 1)
