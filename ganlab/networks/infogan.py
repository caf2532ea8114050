"""The networks of InfoGAN for MNIST (Chen et al. 2016, appendix C.1), for images whose sides are multiples of 4 px.

A dense layer is a convolution of maps of one pixel, so that batch norm is one layer everywhere. At 28 px and `width=64`
the generator has 6,652,481 parameters, the trunk 6,558,144, the logit's head 1,025 and the code's 133,262, as the
authors' code.
"""

import torch
from torch import Tensor, nn

from ganlab.layers.batchnorm import BatchNorm
from ganlab.networks.dcgan import initialize
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

SLOPE = 0.1
"""Of the leaky ReLUs below 0, as in the paper; the authors' code has 0.01."""
HIDDEN, DEEP = 16, 2
"""Widths of the dense layer and of the smallest map."""


def smallest_map(image: ImageSpec) -> tuple[int, int]:
    """Return height and width of the map that two doublings make an image."""
    if image.height % 4 or image.width % 4:
        raise UserError(
            f"data.image: InfoGAN makes images whose sides are multiples of 4 px, not {image.height}x{image.width}; "
            f"pack the data with `--size {-(-image.height // 4) * 4}x{-(-image.width // 4) * 4}`"
        )
    return image.height // 4, image.width // 4


class Generator(nn.Module):
    """Latents to images in [-1, 1]: two dense layers and two transposed convolutions, batch norm and ReLU between them.

    The last layer is tanh, the paper's sigmoid for images in [0, 1].
    """

    def __init__(self, *, image: ImageSpec, latent: int, width: int = 64, norm_group: int | None = None) -> None:
        super().__init__()
        self.latent, self.classes = latent, 0
        height, across = smallest_map(image)
        pixels = DEEP * width * height * across
        self.layers = nn.Sequential(
            nn.Conv2d(latent, HIDDEN * width, 1),  # b hidden 1 1
            BatchNorm(HIDDEN * width, group=norm_group),
            nn.ReLU(),
            nn.Conv2d(HIDDEN * width, pixels, 1),
            BatchNorm(pixels, group=norm_group),
            nn.ReLU(),
            nn.Flatten(),
            nn.Unflatten(1, (DEEP * width, height, across)),
            nn.ConvTranspose2d(DEEP * width, width, 4, stride=2, padding=1),
            BatchNorm(width, group=norm_group),
            nn.ReLU(),
            nn.ConvTranspose2d(width, image.channels, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        initialize(self)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent; labels are ignored."""
        images: Images = self.layers(latents[:, :, None, None])
        return images


class Discriminator(nn.Module):
    """Images to logits and guesses of their codes: a trunk with two heads.

    `guesses` is the number of values in a guess. Batch norm keeps no running statistics.
    """

    def __init__(self, *, image: ImageSpec, guesses: int, width: int = 64, norm_group: int | None = None) -> None:
        super().__init__()
        smallest = smallest_map(image)

        def norm(channels: int) -> BatchNorm:
            return BatchNorm(channels, group=norm_group, running=False)

        self.trunk = nn.Sequential(
            nn.Conv2d(image.channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, DEEP * width, 4, stride=2, padding=1),
            norm(DEEP * width),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(DEEP * width, HIDDEN * width, smallest),
            norm(HIDDEN * width),
            nn.LeakyReLU(SLOPE),
        )
        self.logit = nn.Conv2d(HIDDEN * width, 1, 1)
        self.code = nn.Sequential(
            nn.Conv2d(HIDDEN * width, DEEP * width, 1),
            norm(DEEP * width),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(DEEP * width, guesses, 1),
        )
        initialize(self)

    def forward(self, images: Images) -> tuple[Logits, Tensor]:
        """[n, c, h, w] to logits [n] and guesses [n, guesses]."""
        features = self.trunk(images)  # b hidden 1 1
        return self.logit(features).flatten(), torch.flatten(self.code(features), 1)
