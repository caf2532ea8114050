"""The networks of ALI on CIFAR-10 (Dumoulin et al. 2017, table 3), for images of 32 px, without dropout.

With 64 dimensions of code they have 3,118,496, 981,152 and 2,611,009 parameters: those of the paper's code, but for the
encoder's biases of each pixel. The generator's begin at 0 instead of the data's log-odds.
"""

import torch
from torch import Tensor, nn

from ganlab.layers.batchnorm import BatchNorm
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

SLOPE = 0.1
"""Of leaky ReLU."""
LAYERS = ((5, 1, 1), (4, 2, 2), (4, 1, 4), (4, 2, 8), (4, 1, 16))
"""Kernel, stride and channels, in widths, of the convolutions from the image to one pixel; none is padded."""
TRANSPOSED = ((4, 1, 8), (4, 2, 4), (4, 1, 2), (4, 2, 1), (5, 1, 1))
"""The same of those from one pixel to the image."""


def initialize(network: nn.Module) -> None:
    """Draw the initial weights: N(0, 0.01) for convolutions and linear layers, whose biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Encoder(nn.Module):
    """Images to mean and logarithm of the standard deviation of codes: convolutions, batch norm, leaky ReLU."""

    def __init__(self, *, image: ImageSpec, width: int = 32, latent: int = 64, norm_group: int | None = None) -> None:
        super().__init__()
        if (image.height, image.width) != (32, 32):
            raise UserError(f"data.image: ALI takes 32x32 px, not {image.height}x{image.width}; pack with `--size 32`")
        layers, channels = list[nn.Module](), image.channels
        for kernel, stride, widths in (*LAYERS, (1, 1, 16)):
            layers += [
                nn.Conv2d(channels, widths * width, kernel, stride, bias=False),  # b 16*width 1 1
                BatchNorm(widths * width, group=norm_group, momentum=0.05),
                nn.LeakyReLU(SLOPE),
            ]
            channels = widths * width
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 2 * latent, 1), nn.Flatten())
        initialize(self)

    def forward(self, images: Images) -> tuple[Latents, Latents]:
        """[n, c, 32, 32] to twice [n, latent]."""
        mean, log_std = self.layers(images).chunk(2, 1)
        return mean, log_std


class Generator(nn.Module):
    """Codes to images in [-1, 1]: transposed convolutions, batch norm, leaky ReLU; each pixel has biases of its own."""

    def __init__(self, *, image: ImageSpec, width: int = 32, latent: int = 64, norm_group: int | None = None) -> None:
        super().__init__()
        self.latent, self.classes = latent, 0
        layers, channels = list[nn.Module](), latent
        for kernel, stride, widths in (*TRANSPOSED, (1, 1, 1)):
            layers += [
                nn.ConvTranspose2d(channels, widths * width, kernel, stride, bias=False),  # b width 32 32
                BatchNorm(widths * width, group=norm_group, momentum=0.05),
                nn.LeakyReLU(SLOPE),
            ]
            channels = widths * width
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, image.channels, 1, bias=False))
        self.bias = nn.Parameter(torch.zeros(image.channels, image.height, image.width))
        initialize(self)

    def forward(self, codes: Latents, labels: Labels | None = None) -> Images:
        """[n, latent] to [n, c, 32, 32]; labels are ignored."""
        logits: Tensor = self.layers(codes[..., None, None]) + self.bias
        return torch.tanh(logits / 2)  # the paper's sigmoid, in [-1, 1]


class Maxout(nn.Module):
    """The larger of each two consecutive channels."""

    def forward(self, features: Tensor) -> Tensor:
        """[n, 2 c, ...] to [n, c, ...]."""
        return features.unflatten(1, (-1, 2)).amax(2)  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """Pairs of image and code to logits, with maxout: a path for each, and one for both."""

    def __init__(self, *, image: ImageSpec, width: int = 32, latent: int = 64) -> None:
        super().__init__()
        layers, channels = list[nn.Module](), image.channels
        for kernel, stride, widths in LAYERS:
            layers += [nn.Conv2d(channels, widths * width, kernel, stride), Maxout()]
            channels = widths * width // 2
        self.image = nn.Sequential(*layers, nn.Flatten())  # b 8*width
        self.code = nn.Sequential(
            nn.Linear(latent, 16 * width, bias=False), Maxout(), nn.Linear(8 * width, 16 * width, bias=False), Maxout()
        )
        self.both = nn.Sequential(
            nn.Linear(16 * width, 32 * width),
            Maxout(),
            nn.Linear(16 * width, 32 * width),
            Maxout(),
            nn.Linear(16 * width, 1),
        )
        initialize(self)

    def forward(self, images: Images, codes: Latents) -> Logits:
        """[n, c, 32, 32] and [n, latent] to [n]."""
        logits: Logits = self.both(torch.cat([self.image(images), self.code(codes)], 1))[:, 0]
        return logits
