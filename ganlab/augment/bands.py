"""ADA's filter: frequency bands of images, amplified at random (Karras et al. 2020, appendix B)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ganlab.augment.constants import constants
from ganlab.augment.geometry import padded
from ganlab.types import Images

DRAWS = 4, 4
HALF_BAND = (-1 / 32, 0.0, 9 / 32, 16 / 32, 9 / 32, 0.0, -1 / 32)
"""The low-pass filter of the symlet with two vanishing moments, by its mirror image: of no phase, and 1 at 0."""
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Expected power of natural images in the bands, from low to high."""


def filter_bank(like: Tensor) -> Tensor:
    """Return the filters of four bands [4, taps], from low to high; their sum is the identity.

    They are the differences of what the undecimated wavelet transform keeps: low(z) low(z^2) low(z^4), low(z) low(z^2),
    low(z), and all.
    """
    low, around = constants(HALF_BAND, like), len(HALF_BAND) // 2
    kept = [F.pad(low, [6 * around] * 2)[None]]
    for step in (2, 4):
        kept.insert(0, F.conv1d(kept[0], low[None, None], padding=step * around, dilation=step))
    identity = F.pad(low.new_ones(1, 1), [7 * around] * 2)
    return torch.cat([*kept, identity]).diff(dim=0, prepend=torch.zeros_like(identity))


def gains(uniform: Tensor, normal: Tensor, p: Tensor) -> Tensor:
    """Return the bands' gains [n, 4]. Each band tosses a coin; the gains that it sets keep the expected power."""
    factors = 2 ** ((uniform < p[:, None]) * normal)  # n 4: of the band itself
    power = 1 + constants(POWER, normal) * (factors.square() - 1)  # n 4: when that band alone is amplified
    return factors * power.rsqrt().prod(1, keepdim=True)


def amplified(images: Images, uniform: Tensor, normal: Tensor, p: Tensor) -> Images:
    """Filter images along both axes; one whose gains are all 1 stays, bit for bit."""
    n, channels, height, width = images.shape
    gain = gains(uniform, normal, p)
    taps = (gain[:, :, None] * filter_bank(gain)).sum(1)  # n taps
    kernels = taps.repeat_interleave(channels, 0)[:, None]  # the filters are symmetric: correlation is convolution
    planes = padded(images, taps.shape[1] // 2).view(1, n * channels, *[s + taps.shape[1] - 1 for s in (height, width)])
    planes = F.conv2d(planes, kernels[:, :, None], groups=n * channels)
    planes = F.conv2d(planes, kernels[..., None], groups=n * channels)
    same = (uniform >= p[:, None]).all(1)
    return torch.where(same.view(n, 1, 1, 1), images, planes.view(images.shape))
