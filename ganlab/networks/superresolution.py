"""Networks of super-resolution: SRGAN (Ledig et al. 2017, figure 4) and ESRGAN (Wang et al. 2018, figures 3 and 4)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.batchnorm import BatchNorm
from ganlab.layers.leaky import LeakyReLU
from ganlab.types import Images, ImageSpec, Logits, UserError


def initialize(network: nn.Module) -> None:
    """Draw the initial weights.

    | layer | weight | bias |
    |---|---|---|
    | convolution, linear | He normal, times 0.1 (Wang et al. 2018, section 3.1) | 0, if any |
    | batch norm | 1 | 0 |
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            with torch.no_grad():
                layer.weight.mul_(0.1)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def doublings(scale: int) -> int:
    """Return how often a scale doubles; UserError if it is no power of two."""
    if scale < 2 or scale & (scale - 1):
        raise UserError(f"model.generator.scale: {scale}: write 2, 4 or 8")
    return scale.bit_length() - 1


class ResidualBlock(nn.Module):
    """Convolution, batch norm, PReLU, convolution, batch norm beside an identity."""

    def __init__(self, channels: int, norm_group: int | None) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            BatchNorm(channels, group=norm_group),
            nn.PReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            BatchNorm(channels, group=norm_group),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to the same."""
        total: Tensor = features + self.layers(features)
        return total


class SRResNet(nn.Module):
    """Small images to what an enlargement of them lacks: residual blocks with batch norm, sub-pixel convolutions.

    The authors' 1,549,462 parameters (scale 4, RGB) are these and the biases that batch norms cancel.

    Args:
        image: shape of the large images.
        width: channels of all maps.
        blocks: residual blocks.
        scale: of the sides.
        norm_group: consecutive images per batch norm; None is the batch of all processes.
    """

    def __init__(
        self, *, image: ImageSpec, width: int = 64, blocks: int = 16, scale: int = 4, norm_group: int | None = None
    ) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Sequential(nn.Conv2d(image.channels, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(width, norm_group) for _ in range(blocks)))
        self.last = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), BatchNorm(width, group=norm_group))
        up = (
            [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()] for _ in range(doublings(scale))
        )
        self.up = nn.Sequential(*(layer for layers in up for layer in layers))
        self.output = nn.Conv2d(width, image.channels, 9, padding=4)
        initialize(self)

    def forward(self, images: Images) -> Tensor:
        """[n, c, h, w] to [n, c, scale h, scale w]."""
        features = self.first(images)
        added: Tensor = self.output(self.up(features + self.last(self.blocks(features))))
        return added


class DenseBlock(nn.Module):
    """Five convolutions, each of all maps before it, beside an identity; their sum is weighted by 0.2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        growth = channels // 2
        outputs = [growth] * 4 + [channels]
        self.layers = nn.ModuleList(
            nn.Conv2d(channels + level * growth, after, 3, padding=1) for level, after in enumerate(outputs)
        )

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to the same."""
        *hidden, last = self.layers
        maps = features
        for layer in hidden:
            maps = torch.cat([maps, F.leaky_relu(layer(maps), 0.2)], 1)
        total: Tensor = features + 0.2 * last(maps)
        return total


class DenseBlocks(nn.Module):
    """Three dense blocks beside an identity, weighted by 0.2: a residual-in-residual dense block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(DenseBlock(channels) for _ in range(3)))

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to the same."""
        total: Tensor = features + 0.2 * self.layers(features)
        return total


class RRDBNet(nn.Module):
    """Small images to what an enlargement of them lacks: dense blocks without norm; 16,697,987 parameters at scale 4.

    The arguments are `SRResNet`'s.
    """

    def __init__(self, *, image: ImageSpec, width: int = 64, blocks: int = 23, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(image.channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(DenseBlocks(width) for _ in range(blocks)))
        self.last = nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(doublings(scale)))
        self.output = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), LeakyReLU(), nn.Conv2d(width, image.channels, 3, padding=1)
        )
        initialize(self)

    def forward(self, images: Images) -> Tensor:
        """[n, c, h, w] to [n, c, scale h, scale w]."""
        features = self.first(images)
        features = features + self.last(self.blocks(features))
        for layer in self.up:
            features = F.leaky_relu(layer(F.interpolate(features, scale_factor=2)), 0.2)
        added: Tensor = self.output(features)
        return added


class Discriminator(nn.Module):
    """Images to logits, and to the maps of each size on the way: pairs of convolutions, the second of which halves.

    The authors' 23,565,505 parameters (96 px, RGB) are these and the biases that batch norms cancel.

    Args:
        image: both sides are multiples of 16 px.
        width: channels of the first convolution.
        norm_group: consecutive images per batch norm; None is the batch of all processes.
    """

    def __init__(self, *, image: ImageSpec, width: int = 64, norm_group: int | None = None) -> None:
        super().__init__()
        if image.height % 16 or image.width % 16:
            raise UserError(
                f"data.image: {image.height}x{image.width} px; this discriminator halves images four times: pack them "
                "with a --size of multiples of 16 px, or cut some with data.crop"
            )

        def layers(before: int, after: int, stride: int) -> list[nn.Module]:
            convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
            return [convolution, BatchNorm(after, group=norm_group, running=False), LeakyReLU()]

        first = [nn.Conv2d(image.channels, width, 3, padding=1), LeakyReLU(), *layers(width, width, 2)]
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(*first),
                *(nn.Sequential(*layers(b, a, 1), *layers(a, a, 2)) for b, a in pairwise(widths)),
            ]
        )
        pixels = image.height * image.width // 256
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(8 * width * pixels, 16 * width), LeakyReLU(), nn.Linear(16 * width, 1)
        )
        initialize(self)

    def forward(self, images: Images) -> tuple[Logits, list[Tensor]]:
        """[n, c, h, w] to logits [n] and four maps, each of half the size of the one before."""
        maps: list[Tensor] = []
        features = images
        for block in self.blocks:
            features = block(features)
            maps.append(features)
        logits: Logits = self.head(features)[:, 0]
        return logits, maps
