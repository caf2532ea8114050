"""Projected GAN's discriminator: Sauer et al. 2021, "Projected GANs converge faster"."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.batchnorm import BatchNorm
from ganlab.layers.spectral import spectral_norm
from ganlab.networks.pretrained import Features
from ganlab.types import Images, Labels, Scores, UserError

MIXED = (1, 2, 4, 8)
"""Channels of each scale's features after the first mixing, from the largest map on, as multiples of the width."""
SUMMED = (1, 1, 2, 4)
"""The same after the second mixing, at strides 2, 4, 8 and 16: half of what comes in, except at the largest map."""
DOWN = {64: 1, 32: 2, 16: 4, 8: 8}
"""The same of the small discriminators' maps, by their sizes for images of 256 px."""


class Mixing(nn.Module):
    """A convolution of single pixels with random weights that stay (section 3.2); torch's initial ones."""

    kernel: Tensor
    offset: Tensor

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        drawn = nn.Conv2d(before, after, 1)
        assert drawn.bias is not None
        self.register_buffer("kernel", drawn.weight.detach())
        self.register_buffer("offset", drawn.bias.detach())

    def forward(self, features: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, h, w]."""
        return F.conv2d(features, self.kernel, self.offset)


class Projection(nn.Module):
    """Images to features of four scales, mixed across channels and then across scales; nothing in it learns.

    Args:
        features: a frozen network; its images are in [-1, 1].
        width: channels of the largest map.
        size: smaller images are enlarged to this height and width, px.
    """

    def __init__(self, features: Features, width: int, size: int) -> None:
        super().__init__()
        self.features, self.size = features, size
        mixed, summed = ([width * factor for factor in factors] for factors in (MIXED, SUMMED))
        self.across_channels = nn.ModuleList(map(Mixing, features.channels, mixed))
        self.across_scales = nn.ModuleList(map(Mixing, mixed, summed))

    def forward(self, images: Images) -> list[Tensor]:
        """[n, c, h, w] to four maps, the largest first."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if min(images.shape[2:]) < self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear")
        maps = [mix(each) for mix, each in zip(self.across_channels, self.features(images), strict=True)]
        outputs: list[Tensor] = []
        for mix, each in zip([*self.across_scales][::-1], maps[::-1], strict=True):
            both = each + outputs[0] if outputs else each
            outputs.insert(0, mix(F.interpolate(both, scale_factor=2, mode="bilinear", align_corners=True)))
        return outputs


def small_discriminator(width: int, channels: int, start: int, group: int) -> nn.Sequential:
    """Return a network from a map, of size `start` for images of 256 px, to a map of logits."""
    sizes = [size for size in DOWN if size < start]
    layers: list[nn.Module] = []
    for before, after in pairwise([channels, *(width * DOWN[size] for size in sizes)]):
        conv = spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False))
        layers += [conv, BatchNorm(after, group=group, running=False), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(width * DOWN[8], 1, 4, bias=False)))


class Discriminator(nn.Module):
    """Images to the logits of four small discriminators, each on features of another scale (section 3.1).

    Args:
        features: a frozen network with maps at strides 4, 8, 16 and 32.
        group: consecutive images that a batch norm takes together.
        width: channels of the largest map; the others are multiples of it.
        size: smaller images are enlarged to this height and width, px; at least 128.
    """

    classes = 0

    def __init__(self, *, features: Features, group: int, width: int = 64, size: int = 224) -> None:
        super().__init__()
        if size < 128:
            raise UserError(f"model.size: {size}: the discriminator's smallest map would vanish; write 128 or more")
        self.projection = Projection(features, width, size)
        self.heads = nn.ModuleList(
            small_discriminator(width, width * factor, start, group)
            for factor, start in zip(SUMMED, (128, 64, 32, 16), strict=True)
        )

    def forward(self, images: Images, labels: Labels | None = None) -> Scores:
        """[n, c, h, w] to [n, patches]."""
        maps: Sequence[Tensor] = self.projection(images)
        return torch.cat([head(each).flatten(1) for head, each in zip(self.heads, maps, strict=True)], 1)
