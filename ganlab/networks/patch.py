"""A discriminator of patches: a logit for each 70 x 70 px of an image (Isola et al. 2017, appendix 6.1.2)."""

from itertools import pairwise

from torch import Tensor, nn

from ganlab.layers.leaky import LeakyReLU
from ganlab.networks.translation import initialize
from ganlab.types import Images


class Discriminator(nn.Module):
    """Images to maps of logits: three strided convolutions, fewer below 32 px, and two that are not.

    Args:
        channels: of the images; of pairs, of both.
        size: shorter side of the images, px.
        width: channels after the first convolution.
        affine: whether the instance norms scale and shift: in pix2pix, whose batch norm over one image this is, but not
            in CycleGAN, whose biases before the norms are left out (see `translation.Generator`).
    """

    def __init__(self, *, channels: int, size: int, width: int = 64, affine: bool = False) -> None:
        super().__init__()
        halvings = min(3, max(1, size.bit_length() - 3))
        widths = [width * min(2**level, 8) for level in range(halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), LeakyReLU()]
        for level, (before, after) in enumerate(pairwise(widths), 1):
            stride = 2 if level < halvings else 1
            layers += [
                nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False),
                nn.InstanceNorm2d(after, affine=affine),
                LeakyReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))
        initialize(self)

    def forward(self, images: Images) -> Tensor:
        """[n, c, h, w] to logits [n, 1, patches, patches]."""
        logits: Tensor = self.layers(images)
        return logits
