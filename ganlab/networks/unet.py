"""The generator of pix2pix: a U-Net (Isola et al. 2017, appendix 6.1.1; Ronneberger et al. 2015)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.leaky import LeakyReLU
from ganlab.networks.translation import initialize
from ganlab.types import Images, ImageSpec, UserError

DEEPEST = 8
"""Largest number of halvings: from 256 px to one pixel."""
DROPPED = 3
"""Number of the first doublings with dropout."""


class Down(nn.Module):
    """Half the size: leaky ReLU (but of the image), a strided convolution, instance norm where `norm` says so."""

    def __init__(self, before: int, after: int, first: bool, norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *[LeakyReLU()] * (not first),
            nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
            *[nn.InstanceNorm2d(after, affine=True)] * norm,
        )

    def forward(self, features: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, h/2, w/2]."""
        halved: Tensor = self.layers(features.clone())  # the leaky ReLU is in place, and the other way needs them too
        return halved


class Up(nn.Module):
    """Twice the size: ReLU, a transposed convolution, instance norm, and dropout of what `keep` says."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(after, affine=True)

    def forward(self, features: Tensor, uniform: Tensor | None = None) -> Tensor:
        """[n, before, h, w] to [n, after, 2h, 2w]; numbers below a half of `uniform` keep a feature, doubled."""
        doubled: Tensor = self.norm(self.convolution(F.relu(features)))
        return doubled if uniform is None else doubled * (2.0 * (uniform < 0.5)).to(doubled.dtype)


class Generator(nn.Module):
    """Images to images of the same shape, in [-1, 1].

    Halved until the shorter side is one pixel, eight times at most, and doubled again beside the maps on the way down.
    The paper's batch norm is over one image, and so instance norm.

    Args:
        image: both sides are multiples of the largest power of two, at most 256, in the shorter one.
        width: channels of the first map.
    """

    def __init__(self, *, image: ImageSpec, width: int = 64) -> None:
        super().__init__()
        size = image.height, image.width
        halvings = min(DEEPEST, min(size).bit_length() - 1)
        if halvings < 3 or any(side % 2**halvings for side in size):
            raise UserError(
                f"data.image: these generators halve an image {max(halvings, 3)} times, and {size[0]}x{size[1]} px "
                "cannot be; pack the pairs with a --size of 256, 128, 64, 32, 16 or 8"
            )
        widths = [image.channels, *(width * min(2**level, 8) for level in range(halvings))]
        last = halvings - 1
        self.downs = nn.ModuleList(
            Down(before, after, first=not level, norm=0 < level < last)
            for level, (before, after) in enumerate(pairwise(widths))
        )
        self.ups = nn.ModuleList(
            Up(widths[level + 1] * (1 if level == last else 2), widths[level]) for level in range(last, 0, -1)
        )
        self.output = nn.ConvTranspose2d(2 * width, image.channels, 4, stride=2, padding=1)
        self.dropped = [
            (widths[level], size[0] >> level, size[1] >> level) for level in range(last, max(last - DROPPED, 0), -1)
        ]
        """Shapes of the maps with dropout."""
        initialize(self)

    def forward(self, images: Images, *uniform: Tensor) -> Images:
        """[n, c, h, w] to the same; `uniform`: numbers in [0, 1) of the shapes `dropped`, or none without dropout."""
        maps = [images]
        for down in self.downs:
            maps.append(down(maps[-1]))
        features = maps.pop()
        for number, up in enumerate(self.ups):
            features = up(features, uniform[number] if number < len(uniform) else None)
            features = torch.cat([maps.pop(), features], 1)
        made: Images = torch.tanh(self.output(F.relu(features)))
        return made
