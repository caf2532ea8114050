"""The residual networks of SN-GAN, of the projection discriminator and of WGAN-GP, for 16, 32, 48, 64 and 128 px.

Images of other sizes, square or not, get the networks of the largest of these that their shorter side has room for.

Miyato et al. 2018, tables 4 to 6; Miyato & Koyama 2018, section 4; Gulrajani et al. 2017 (for CIFAR-10). What these
leave open follows the authors' code: hidden channels, biases, pooling, gains of the initial weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers import spectral
from ganlab.layers.batchnorm import BatchNorm, ConditionalBatchNorm
from ganlab.layers.fused import Conv3x3, ConvOfDouble, MeanOfConv
from ganlab.networks.conditioning import classes_of
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

NORM_EPS = 2e-5


@dataclass(frozen=True)
class Plan:
    """The networks of one image size."""

    generator: tuple[int, ...]
    """Channels of the first map and after each block, which doubles it."""
    discriminator: tuple[int, ...]
    """Channels after each block."""
    halvings: int
    """Number of the discriminator's first blocks that halve the map."""
    output_bias: bool
    """Whether the discriminator's last layer has a bias."""

    @property
    def step(self) -> int:
        """What both sides of an image must be multiples of, px: every map of both networks is then whole."""
        return 1 << max(len(self.generator) - 1, self.halvings)

    def first(self, image: ImageSpec) -> tuple[int, int]:
        """Return height and width of the generator's first map, px."""
        doublings = len(self.generator) - 1
        return image.height >> doublings, image.width >> doublings


PLANS = {
    # Ours: the 32 px networks with one block less.
    16: Plan((256,) * 3, (128,) * 3, halvings=2, output_bias=False),
    32: Plan((256,) * 4, (128,) * 4, halvings=2, output_bias=False),
    48: Plan((512, 256, 128, 64), (64, 128, 256, 512, 1024), halvings=4, output_bias=True),
    64: Plan((1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024), halvings=5, output_bias=True),
    128: Plan((1024, 1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024, 1024), halvings=5, output_bias=True),
}


def plan_of(image: ImageSpec, plans: Mapping[int, Plan] = PLANS) -> Plan:
    """Return the plan for a size of images: the largest whose size the shorter side has, and both divide by its step.

    There is none from twice the largest size on: its networks would be too small.
    """
    size, shorter = (image.height, image.width), min(image.height, image.width)
    fitting = [plan for at, plan in plans.items() if at <= shorter < 2 * at and not any(s % plan.step for s in size)]
    if not fitting:
        at = max((known for known in plans if known <= shorter), default=min(plans))
        scale = 1.0 if at <= shorter < 2 * at else at / max(shorter, 1)
        step = plans[at].step
        near = "x".join(str(max(at, int(side * scale) // step * step)) for side in size)
        raise UserError(
            f"data.image: these networks make images of {', '.join(map(str, plans))} px, not {size[0]}x{size[1]}; "
            f"sides between these must be multiples of {step} px near {at}: pack the data with `--size {near}`"
        )
    return fitting[-1]


def scaled(channels: tuple[int, ...], nearest_image: int, width: int | None) -> list[int]:
    """Scale channels so that those next to the image are `width`; None keeps them."""
    return [c * (width or nearest_image) // nearest_image for c in channels]


def initialize(network: nn.Module) -> None:
    """Draw the initial weights.

    | layer | weight | bias |
    |---|---|---|
    | 3x3 convolution of a block | Glorot uniform, gain sqrt(2) | 0 |
    | 1x1 convolution of a shortcut, linear, embedding, the generator's last | Glorot uniform, gain 1 | 0, if any |
    | batch norm, for every class | 1 | 0 |
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.xavier_uniform_(layer.weight, 2**0.5 if name.endswith(("conv1", "conv2")) else 1.0)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


class UpBlock(nn.Module):
    """Twice the size: norm, ReLU, nearest upsampling, convolution, norm, ReLU, convolution, beside a shortcut.

    The paper upsamples before the shortcut's 1x1 convolution. The two commute, and this order costs a quarter.
    """

    def __init__(self, before: int, after: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(before), norm(after)
        self.conv1 = ConvOfDouble(before, after)
        self.conv2 = Conv3x3(after, after)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, features: Tensor, *labels: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, 2h, 2w]; labels if the norm takes them."""
        hidden = self.conv1(F.relu(self.norm1(features, *labels)))
        hidden = self.conv2(F.relu(self.norm2(hidden, *labels)))
        total: Tensor = F.interpolate(self.shortcut(features), scale_factor=2) + hidden
        return total


class FirstBlock(nn.Module):
    """Half the size: convolution, ReLU, convolution, mean of 2x2, beside a shortcut; no ReLU of the image itself."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = Conv3x3(before, after)
        self.conv2 = MeanOfConv(after, after)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, images: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, h/2, w/2]."""
        hidden = self.conv2(F.relu(self.conv1(images)))
        total: Tensor = hidden + self.shortcut(F.avg_pool2d(images, 2))
        return total


class DownBlock(nn.Module):
    """ReLU, convolution, ReLU, convolution, mean of 2x2 if it halves the size, beside a shortcut.

    The hidden map has `hidden` channels; None is `before`, as in the paper. It takes the mean after the shortcut's 1x1
    convolution. The two commute, and this order costs a quarter.
    """

    def __init__(self, before: int, after: int, halve: bool, hidden: int | None = None) -> None:
        super().__init__()
        self.halve = halve
        self.conv1 = Conv3x3(before, hidden or before)
        self.conv2 = (MeanOfConv if halve else Conv3x3)(hidden or before, after)
        self.shortcut = nn.Conv2d(before, after, 1) if halve or before != after else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, h, w], or half of h and w."""
        hidden = self.conv2(F.relu(self.conv1(F.relu(features))))
        if self.halve:
            features = F.avg_pool2d(features, 2)
        total: Tensor = hidden + self.shortcut(features)
        return total


class Generator(nn.Module):
    """Latents to images in [-1, 1].

    Args:
        image: of a size that `plan_of` has networks for.
        width: channels next to the image, the others in proportion; None is the paper's: 256 up to 32 px, 64 above.
        latent: dimensions of the latent.
        conditional: batch norms but the last have a gain and a bias per class.
        norm_group: consecutive images per batch norm; None is the batch of all processes.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int | None = None,
        latent: int = 128,
        conditional: bool = False,
        norm_group: int | None = None,
    ) -> None:
        super().__init__()
        plan = plan_of(image)
        self.latent, self.classes = latent, classes_of(image, conditional)
        channels = scaled(plan.generator, plan.generator[-1], width)
        plain = partial(BatchNorm, group=norm_group, eps=NORM_EPS)
        by_class = partial(ConditionalBatchNorm, classes=self.classes, group=norm_group, eps=NORM_EPS)
        norm = by_class if conditional else plain
        height, across = plan.first(image)
        self.linear = nn.Linear(latent, channels[0] * height * across)
        self.unflatten = nn.Unflatten(1, (height, across, channels[0]))
        self.blocks = nn.ModuleList(UpBlock(before, after, norm) for before, after in pairwise(channels))
        self.norm = plain(channels[-1])
        self.output = nn.Conv2d(channels[-1], image.channels, 3, padding=1)
        initialize(self)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent; labels are ignored unless the network is conditional."""
        features = self.unflatten(self.linear(latents)).permute(0, 3, 1, 2)  # channels last
        for block in self.blocks:
            features = block(features, labels) if self.classes else block(features)
        return torch.tanh(self.output(F.relu(self.norm(features))))


class Discriminator(nn.Module):
    """Images to logits: a linear layer over the sum, or the mean, of the last map.

    With `conditional`, the inner product of that sum with the class's embedding is added (a projection discriminator,
    Miyato & Koyama 2018, eq. 5).

    Args:
        image: of a size that `plan_of` has networks for.
        width: channels next to the image, the others in proportion; None is the paper's: 128 up to 32 px, 64 above.
        spectral_norm: of every weight: convolutions, linear, embedding as the matrix [classes, channels].
        pooling: of the last map.
        output_bias: of the linear layer; None is as the paper's code has it, none up to 32 px.
        conditional: tell the network the class.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int | None = None,
        spectral_norm: bool = True,
        pooling: Literal["sum", "mean"] = "sum",
        output_bias: bool | None = None,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        plan = plan_of(image)
        self.classes = classes_of(image, conditional)
        channels = scaled(plan.discriminator, plan.discriminator[0], width)
        self.blocks = nn.Sequential(
            FirstBlock(image.channels, channels[0]),
            *(DownBlock(*pair, halve=number < plan.halvings) for number, pair in enumerate(pairwise(channels), 1)),
        )
        self.pool = {"sum": torch.sum, "mean": torch.mean}[pooling]
        self.linear = nn.Linear(channels[-1], 1, bias=plan.output_bias if output_bias is None else output_bias)
        if conditional:
            self.embedding = nn.Embedding(self.classes, channels[-1])
        initialize(self)
        if spectral_norm:
            for layer in list(self.modules()):
                if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
                    spectral.spectral_norm(layer)

    def forward(self, images: Images, labels: Labels) -> Logits:
        """Return one logit per image; labels are ignored unless the network is conditional."""
        features = self.features(images)
        logits: Tensor = self.linear(features)[:, 0]
        if self.classes:
            logits = logits + (self.embedding(labels) * features).sum(1)
        return logits

    def features(self, images: Images) -> Tensor:
        """Return what the last layer sees, [n, c]."""
        return self.pool(F.relu(self.blocks(images)), (2, 3))
