"""FastGAN's generator (Liu et al. 2021, "Towards faster and stabilized GAN training"), as Projected GAN uses it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.batchnorm import BatchNorm
from ganlab.layers.equalized import PixelNorm
from ganlab.layers.spectral import spectral_norm
from ganlab.types import Images, ImageSpec, Labels, Latents, UserError

CHANNELS = {4: 16.0, 8: 8.0, 16: 4.0, 32: 2.0, 64: 2.0, 128: 1.0, 256: 0.5, 512: 0.25, 1024: 0.125}
"""Channels of the map of each size, as multiples of the width."""
SKIPS = {64: 4, 128: 8, 256: 16, 512: 32}
"""Maps whose channels a smaller one weights."""


class UpBlock(nn.Module):
    """Twice the size: nearest upsampling, then twice convolution, batch norm and gated linear unit."""

    def __init__(self, before: int, after: int, norm_group: int | None) -> None:
        super().__init__()
        self.conv1 = spectral_norm(nn.Conv2d(before, 2 * after, 3, padding=1, bias=False))
        self.conv2 = spectral_norm(nn.Conv2d(after, 2 * after, 3, padding=1, bias=False))
        self.norm1, self.norm2 = (BatchNorm(2 * after, group=norm_group) for _ in range(2))

    def forward(self, features: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, 2h, 2w]."""
        hidden = F.glu(self.norm1(self.conv1(F.interpolate(features, scale_factor=2))), 1)
        return F.glu(self.norm2(self.conv2(hidden)), 1)


class Excitation(nn.Module):
    """Weights of a large map's channels, from a small map: the paper's skip-layer excitation (section 3.1)."""

    def __init__(self, small: int, large: int) -> None:
        super().__init__()
        self.conv1 = spectral_norm(nn.Conv2d(small, large, 4, bias=False))
        self.conv2 = spectral_norm(nn.Conv2d(large, large, 1, bias=False))

    def forward(self, large: Tensor, small: Tensor) -> Tensor:
        """Weight [n, large, H, W] by what [n, small, h, w] makes of each channel."""
        hidden = F.silu(self.conv1(F.adaptive_avg_pool2d(small, 4)))
        return large * torch.sigmoid(self.conv2(hidden))


class Generator(nn.Module):
    """Latents to images, without a final tanh; the initial weights are torch's.

    A deviation: no noise is added to the maps. (The strength of the paper's begins at 0.)

    Args:
        image: square, of 8, 16, 32, ... 1024 px.
        width: channels at 128 px; the others are in proportion.
        latent: dimensions of the latent, which is normalised to a mean square of 1.
        norm_group: consecutive images per batch norm; None is the batch of all processes.
    """

    def __init__(self, *, image: ImageSpec, width: int = 128, latent: int = 256, norm_group: int | None = None) -> None:
        super().__init__()
        sizes = [size for size in CHANNELS if size <= image.height]
        if image.width != image.height or sizes[-1:] != [image.height] or image.height == 4:
            raise UserError(
                f"data.image: FastGAN makes square images of {', '.join(map(str, list(CHANNELS)[1:]))} px, not "
                f"{image.height}x{image.width}; pack the data with `--size` one of these"
            )
        channels = {size: int(width * CHANNELS[size]) for size in sizes}
        self.latent, self.classes = latent, 0
        self.normalize = PixelNorm()
        self.first = spectral_norm(nn.ConvTranspose2d(latent, 2 * channels[4], 4, bias=False))
        self.norm = BatchNorm(2 * channels[4], group=norm_group)
        self.blocks = nn.ModuleDict(
            {str(size): UpBlock(channels[size // 2], channels[size], norm_group) for size in sizes[1:]}
        )
        self.skips = nn.ModuleDict(
            {str(at): Excitation(channels[of], channels[at]) for at, of in SKIPS.items() if at in sizes}
        )
        self.output = spectral_norm(nn.Conv2d(channels[image.height], image.channels, 3, padding=1))

    def forward(self, latents: Latents, labels: Labels | None = None) -> Images:
        """[n, latent] to [n, c, h, w]."""
        features = F.glu(self.norm(self.first(self.normalize(latents)[..., None, None])), 1)
        maps = {4: features}
        for at, block in self.blocks.items():
            features = block(features)
            if at in self.skips:
                features = self.skips[at](features, maps[SKIPS[int(at)]])
            maps[int(at)] = features
        images: Images = self.output(features)
        return images
