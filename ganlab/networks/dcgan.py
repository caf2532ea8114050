"""The networks of DCGAN (Radford et al. 2016), for sizes from 16 px that halve until a side is from 4 to 7 px.

The 64 px reference (PyTorch's DCGAN example) is `width=64`; the paper's own networks, four times wider in the
generator's first layer, are `width=128`.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganlab.layers.batchnorm import BatchNorm
from ganlab.layers.leaky import LeakyReLU
from ganlab.networks.conditioning import classes_of, with_planes
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

WIDEST = 8
"""Channels of the deepest layer, in widths: that of the 64 px network. Larger networks repeat it."""


def smallest_map(image: ImageSpec) -> tuple[tuple[int, int], int]:
    """Return height and width of the smallest map, 4x4 for a power of two, and how often it doubles."""
    doublings = max(2, min(image.height, image.width).bit_length() - 3)  # its shorter side is from 4 to 7 px
    step = 2**doublings
    height, width = (max(4, size // step) for size in (image.height, image.width))
    if (height * step, width * step) != (image.height, image.width):
        raise UserError(
            f"data.image: DCGAN makes images of 16, 32, 64, ... px, or whose sides are other multiples of {step} px at "
            f"this size, not {image.height}x{image.width}; pack the data with `--size {height * step}x{width * step}`"
        )
    return (height, width), doublings


def stage_widths(stages: int, width: int) -> list[int]:
    """Return the channels at the smallest map, at twice its size, ... up to half the image's size."""
    return [width * min(2 ** (stages - 1 - stage), WIDEST) for stage in range(stages)]


def initialize(network: nn.Module) -> None:
    """Draw the initial weights.

    | layer | weight | bias |
    |---|---|---|
    | convolution | N(0, 0.02) | none, or 0 |
    | batch norm | N(1, 0.02) | 0 |
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, BatchNorm):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def downward(
    image: ImageSpec, *, outputs: int, width: int, norm_group: int | None, running: bool = True
) -> nn.Sequential:
    """Make the layers from images to `outputs` numbers: convolutions of stride 2, batch norm but once, leaky ReLU."""
    smallest, doublings = smallest_map(image)
    widths = stage_widths(doublings, width)[::-1]
    layers: list[nn.Module] = [
        nn.Conv2d(image.channels, widths[0], 4, stride=2, padding=1, bias=False),
        LeakyReLU(),
    ]
    for before, after in pairwise(widths):
        layers += [
            nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
            BatchNorm(after, group=norm_group, running=running),
            LeakyReLU(),
        ]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], outputs, smallest, bias=False), nn.Flatten())


class Generator(nn.Module):
    """Latents to images in [-1, 1]: transposed convolutions, batch norm and ReLU between them, tanh last.

    The first makes the smallest map. With `conditional`, the one-hot class is concatenated to the latent.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        latent: int = 100,
        conditional: bool = False,
        norm_group: int | None = None,
    ) -> None:
        super().__init__()
        self.latent, self.classes = latent, classes_of(image, conditional)
        smallest, doublings = smallest_map(image)
        widths = stage_widths(doublings, width)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent + self.classes, widths[0], smallest, bias=False),  # b width 4 4
            BatchNorm(widths[0], group=norm_group),
            nn.ReLU(),
        ]
        for before, after in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
                BatchNorm(after, group=norm_group),
                nn.ReLU(),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], image.channels, 4, stride=2, padding=1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialize(self)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent; labels are ignored unless the network is conditional."""
        if self.classes:
            latents = torch.cat([latents, one_hot(labels, self.classes).to(latents.dtype)], dim=1)
        images: Images = self.layers(latents[:, :, None, None])
        return images


class Discriminator(nn.Module):
    """Images to logits: strided convolutions, batch norm (not in the first), leaky ReLU, then all of the smallest map.

    Batch norm keeps no running statistics, since nothing reads them. With `conditional`, the last convolution has one
    filter per class besides the common one (a projection discriminator, Miyato & Koyama 2018, eq. 5), or with
    `conditioning="concat"` the first one sees a plane per class beside the image (Mirza & Osindero 2014).
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        conditional: bool = False,
        conditioning: Literal["projection", "concat"] = "projection",
        norm_group: int | None = None,
    ) -> None:
        super().__init__()
        self.classes = classes_of(image, conditional)
        self.planes = self.classes if conditioning == "concat" else 0
        seen = replace(image, channels=image.channels + self.planes)
        self.layers = downward(
            seen, outputs=1 + self.classes - self.planes, width=width, norm_group=norm_group, running=False
        )
        initialize(self)

    def forward(self, images: Images, labels: Labels) -> Logits:
        """Return one logit per image; labels are ignored unless the network is conditional."""
        if self.planes:
            images = with_planes(images, labels, self.planes)
        logits = self.layers(images)  # b 1, or b 1+classes
        if logits.shape[1] == 1:
            return logits[:, 0]  # type: ignore[no-any-return]
        return logits[:, 0] + logits.gather(1, 1 + labels[:, None])[:, 0]  # type: ignore[no-any-return]


class ClassifyingDiscriminator(Discriminator):
    """A discriminator that is not told the class: its filters per class guess it (Odena et al. 2017)."""

    def __init__(self, *, image: ImageSpec, width: int = 64, norm_group: int | None = None) -> None:
        super().__init__(image=image, width=width, conditional=True, norm_group=norm_group)

    def forward(self, images: Images) -> tuple[Logits, Tensor]:  # type: ignore[override]
        """[n, c, h, w] to logits [n], and logits of the classes [n, classes]."""
        outputs = self.layers(images)  # b 1+classes
        return outputs[:, 0], outputs[:, 1:]
