"""ADA's filter: frequency bands of images, amplified at random (Karras et al. 2020, appendix B)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ganlab.augment.constants import constants
from ganlab.augment.geometry import padded
from ganlab.types import Images

DRAWS = 4, 4
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
"""The low-pass filter of the symlet with two vanishing moments."""
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Expected power of natural images in the bands, from low to high."""


def filter_bank(like: Tensor) -> Tensor:
    """Return the filters of four bands [4, taps] in float64, from low to high; their sum is the identity.

    Each is a product of half-band filters of the undecimated wavelet transform: low(z) low(z^2) high(z^4) and so on.
    """
    taps = constants(SYM2, like.double())
    low = convolved(taps, taps.flip(0)) / 2
    high = -low
    high[len(low) // 2] += 1
    rest, found = taps.new_ones(1), []
    for level in range(3):
        found.append(convolved(rest, spread(high, 2**level)))
        rest = convolved(rest, spread(low, 2**level))
    longest = len(rest)
    return torch.stack([F.pad(band, [(longest - len(band)) // 2] * 2) for band in (rest, *found[::-1])])


def convolved(first: Tensor, second: Tensor) -> Tensor:
    """Return the full convolution of two filters."""
    return F.conv1d(first[None], second.flip(0)[None, None], padding=len(second) - 1)[0]


def spread(taps: Tensor, step: int) -> Tensor:
    """Return f(z^step): zeros between the taps."""
    out = taps.new_zeros(step * (len(taps) - 1) + 1)
    out[::step] = taps
    return out


def gains(uniform: Tensor, normal: Tensor, p: Tensor) -> Tensor:
    """Return the bands' gains [n, 4]. Each band tosses a coin; the gains that it sets keep the expected power."""
    factors = 2 ** ((uniform < p[:, None]) * normal)  # n 4: of the band itself
    power, bands = constants(POWER, normal), torch.arange(4, device=normal.device)
    total = torch.ones_like(normal)
    for band in range(4):
        own = torch.where(bands == band, factors[:, band, None], 1)
        total = total * own * (power * own.square()).sum(1, keepdim=True).rsqrt()
    return total


def amplified(images: Images, uniform: Tensor, normal: Tensor, p: Tensor) -> Images:
    """Filter images along both axes; one whose gains are all 1 stays, bit for bit."""
    n, channels, height, width = images.shape
    gain = gains(uniform, normal, p)
    taps = (gain[:, :, None] * filter_bank(gain).to(gain.dtype)).sum(1)  # n taps
    kernels = taps.repeat_interleave(channels, 0)[:, None]  # the filters are symmetric: correlation is convolution
    planes = padded(images, taps.shape[1] // 2).view(1, n * channels, *[s + taps.shape[1] - 1 for s in (height, width)])
    planes = F.conv2d(planes, kernels[:, :, None], groups=n * channels)
    planes = F.conv2d(planes, kernels[..., None], groups=n * channels)
    same = (uniform >= p[:, None]).all(1)
    return torch.where(same.view(n, 1, 1, 1), images, planes.view(images.shape))
