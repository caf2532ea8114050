"""The networks of BigGAN-deep, for 16 to 512 px (Brock et al. 2019, appendix B).

Four times the depth of BigGAN in fewer parameters: blocks of four convolutions with a quarter of the channels between
1x1 convolutions, and shortcuts that keep channels instead of mixing them. Each of BigGAN's blocks becomes two.
"""

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.attention import SelfAttention
from ganlab.layers.batchnorm import AdaptiveBatchNorm, BatchNorm
from ganlab.networks import biggan
from ganlab.networks.biggan import PLANS, Attention, Weights, initialize, normalize
from ganlab.networks.conditioning import learned_classes
from ganlab.networks.resnet import plan_of
from ganlab.types import Images, ImageSpec, Labels, Latents, UserError

WIDTH, LATENT = 128, 128
"""The paper's."""
BOTTLENECK = 4
"""What channels are divided by inside a block."""


class UpBlock(nn.Module):
    """Norm, ReLU and convolution, four times: 1x1, 3x3 (after nearest upsampling, if it doubles the size), 3x3, 1x1.

    The shortcut drops the last channels.
    """

    def __init__(self, before: int, after: int, features: int, doubles: bool, norm_group: int | None) -> None:
        super().__init__()
        self.after, self.doubles, hidden = after, doubles, before // BOTTLENECK
        norm = partial(AdaptiveBatchNorm, features=features, group=norm_group)
        self.norm1, self.norm2, self.norm3, self.norm4 = norm(before), norm(hidden), norm(hidden), norm(hidden)
        self.conv1 = nn.Conv2d(before, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv3 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv4 = nn.Conv2d(hidden, after, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[n, before, h, w] and conditions [n, features] to [n, after, h, w], or twice h and w."""
        hidden = self.conv1(F.relu(self.norm1(features, condition)))
        hidden = F.relu(self.norm2(hidden, condition))
        kept = features[:, : self.after]
        if self.doubles:
            hidden, kept = F.interpolate(hidden, scale_factor=2), F.interpolate(kept, scale_factor=2)
        hidden = self.conv3(F.relu(self.norm3(self.conv2(hidden), condition)))
        total: Tensor = kept + self.conv4(F.relu(self.norm4(hidden, condition)))
        return total


class DownBlock(nn.Module):
    """ReLU and convolution, four times: 1x1, 3x3, 3x3, 1x1, the last one after a mean of 2x2 if it halves the size.

    The shortcut appends a 1x1 convolution of its input: the channels that are missing.
    """

    def __init__(self, before: int, after: int, halve: bool) -> None:
        super().__init__()
        self.halve, hidden = halve, after // BOTTLENECK
        self.conv1 = nn.Conv2d(before, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv3 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv4 = nn.Conv2d(hidden, after, 1)
        self.shortcut = nn.Conv2d(before, after - before, 1) if after > before else None

    def forward(self, features: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, h, w], or half of h and w."""
        hidden = F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(F.relu(features)))))))
        if self.halve:
            hidden, features = F.avg_pool2d(hidden, 2), F.avg_pool2d(features, 2)
        if self.shortcut is not None:
            features = torch.cat([features, self.shortcut(features)], 1)
        total: Tensor = features + self.conv4(hidden)
        return total


class Generator(nn.Module):
    """Latents and classes to images in [-1, 1]: the class's embedding beside the latent conditions every layer.

    Args:
        image: of a size that `networks.biggan.PLANS` has networks for, with classes.
        width: channels next to a 128 px image; None is the paper's, 128.
        latent: dimensions of the latent; None is the paper's, 128.
        embedding: dimensions of the class's embedding, the only matrix without spectral norm.
        attention: where the map attends to itself; None for nowhere.
        initial_weights: distribution of the initial weights.
        norm_group: consecutive images per batch norm; None is the batch of all processes.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int | None = None,
        latent: int | None = None,
        embedding: int | None = 128,
        attention: Attention | None = 64,
        initial_weights: Weights = "orthogonal",
        norm_group: int | None = None,
    ) -> None:
        super().__init__()
        if embedding is None:
            raise UserError("model.embedding: null, but all of BigGAN-deep is told the class by it; write 128")
        plan = plan_of(image, PLANS)
        self.latent, self.classes = latent or LATENT, learned_classes(image)
        channels = [(width or WIDTH) * multiple for multiple in plan.generator]
        height, across = plan.first(image)
        self.shared = nn.Embedding(self.classes, embedding)
        features = embedding + self.latent
        self.linear = nn.Linear(features, channels[0] * height * across)
        self.unflatten = nn.Unflatten(1, (height, across, channels[0]))
        self.blocks = nn.ModuleList(
            UpBlock(before, out, features, doubles, norm_group)
            for before, after in pairwise(channels)
            for out, doubles in ((before, False), (after, True))
        )
        heights = [8 << number for number in range(len(channels) - 1)]
        self.attends_after: int | None = None
        if attention in heights:
            stage = heights.index(attention)
            self.attends_after, self.attention = 2 * stage + 1, SelfAttention(channels[stage + 1])
        self.norm = BatchNorm(channels[-1], group=norm_group)
        self.output = nn.Conv2d(channels[-1], image.channels, 3, padding=1)
        initialize(self, initial_weights)
        normalize(self, but=self.shared)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent."""
        condition = torch.cat([self.shared(labels), latents], 1)
        features = self.unflatten(self.linear(condition)).permute(0, 3, 1, 2)  # channels last
        for number, block in enumerate(self.blocks):
            features = block(features, condition)
            if number == self.attends_after:
                features = self.attention(features)
        return torch.tanh(self.output(F.relu(self.norm(features))))


class Discriminator(biggan.Discriminator):
    """BigGAN's with two bottleneck blocks, of which the first halves the map, in the place of each block.

    A convolution before the first of them brings the image to `width` channels.
    """

    WIDTH = WIDTH

    def stages(self, image: ImageSpec, channels: list[int], halvings: int) -> nn.Sequential:
        """Return the stages; the first `halvings` of them halve the map."""
        stages = [
            [DownBlock(before, after, number < halvings), DownBlock(after, after, False)]
            for number, (before, after) in enumerate(pairwise(channels))
        ]
        first, *others = stages
        stem = nn.Conv2d(image.channels, channels[0], 3, padding=1)
        return nn.Sequential(nn.Sequential(stem, *first), *(nn.Sequential(*stage) for stage in others))
