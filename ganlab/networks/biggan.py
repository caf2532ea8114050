"""The networks of BigGAN and of SAGAN, for 16 to 512 px (Brock et al. 2019, appendix B; Zhang et al. 2019).

They are SN-GAN's residual networks, wider, with self-attention, and with spectral norm in the generator too. What the
papers leave open follows the authors' code. Other sizes get the networks of a smaller one, as in `networks.resnet`.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers import spectral
from ganlab.layers.attention import SelfAttention
from ganlab.layers.batchnorm import AdaptiveBatchNorm, BatchNorm, ConditionalBatchNorm
from ganlab.networks.conditioning import learned_classes
from ganlab.networks.resnet import DownBlock, FirstBlock, Plan, UpBlock, plan_of
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

PLANS = {
    # Ours: the 32 px networks with one block less.
    16: Plan((4,) * 3, (4,) * 3, halvings=2, output_bias=True),
    32: Plan((4,) * 4, (4,) * 4, halvings=2, output_bias=True),
    64: Plan((16, 16, 8, 4, 2), (1, 2, 4, 8, 16), halvings=4, output_bias=True),
    128: Plan((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), halvings=5, output_bias=True),
    256: Plan((16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), halvings=6, output_bias=True),
    512: Plan((16, 16, 8, 8, 4, 2, 1, 1), (1, 1, 2, 4, 8, 8, 16, 16), halvings=7, output_bias=True),
}
"""Channels in multiples of the width."""

WIDTH = 96
"""The paper's."""
PART = 20
"""Dimensions of each part of the latent."""
Attention = Literal[8, 16, 32, 64, 128]
"""Height of the map with self-attention, px, in images of the sizes of `PLANS`. A network without that map has none."""
Weights = Literal["orthogonal", "normal", "glorot"]
"""Distribution of the initial weights: see `initialize`."""


def initialize(network: nn.Module, weights: Weights) -> None:
    """Draw the initial weights.

    | | `orthogonal` (BigGAN) | `normal` (its code, for CIFAR-10) | `glorot` (SAGAN) |
    |---|---|---|---|
    | convolution, linear, embedding | orthogonal | N(0, 0.02) | Glorot uniform |
    | their biases | torch's, U(-1, 1) / sqrt(fan in) | torch's | 0 |
    | batch norm's gain and bias by class | 1 and 0 | N(1, 0.02) and N(0, 0.02) | 1 and 0 |
    | other batch norm | 1 and 0 | 1 and 0 | 1 and 0 |
    | attention's gamma | 0 | 0 | 0 |
    """
    draw: dict[str, Callable[[Tensor], Tensor]] = {
        "orthogonal": nn.init.orthogonal_,
        "normal": partial(nn.init.normal_, std=0.02),
        "glorot": nn.init.xavier_uniform_,
    }
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            draw[weights](layer.weight)
        if weights == "glorot" and isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if isinstance(layer, ConditionalBatchNorm) and weights == "normal":
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.normal_(layer.bias, 0.0, 0.02)


def normalize(network: nn.Module, but: nn.Module | None = None) -> None:
    """Give every convolution, linear layer and embedding of a network spectral norm, `but` one of them."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding) and layer is not but:
            spectral.spectral_norm(layer)


class Generator(nn.Module):
    """Latents and classes to images in [-1, 1].

    The first layer and each block get a part of the latent of their own; a block's condition, which scales and shifts
    its batch norms, is the embedding of the class beside its part. The embedding is shared by all blocks. It alone has
    no spectral norm, which would "randomly cripple" the generator, its authors' code says.

    Args:
        image: of a size that `PLANS` has networks for, with classes.
        width: channels next to a 128 px image; None is the paper's, 96.
        latent: dimensions of the latent; None is 20 for each part, or 128 without an embedding.
        embedding: dimensions of the class's embedding; None gives every batch norm but the last a gain and a bias per
            class, and the first layer the whole latent.
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
        plan = plan_of(image, PLANS)
        self.classes = learned_classes(image)
        self.parts = len(plan.generator) if embedding else 1
        self.latent = latent or (PART * self.parts if embedding else 128)
        part, rest = divmod(self.latent, self.parts)
        if rest:
            raise UserError(
                f"model.latent: {latent}: the first layer and each block get a part of it; write a multiple of "
                f"{self.parts}, such as {PART * self.parts}"
            )
        channels = [(width or WIDTH) * multiple for multiple in plan.generator]
        by_vector = partial(AdaptiveBatchNorm, features=(embedding or 0) + part, group=norm_group)
        by_class = partial(ConditionalBatchNorm, classes=self.classes, group=norm_group)
        height, across = plan.first(image)
        self.shared = nn.Embedding(self.classes, embedding) if embedding else None
        self.linear = nn.Linear(part, channels[0] * height * across)
        self.unflatten = nn.Unflatten(1, (height, across, channels[0]))
        norm = by_vector if embedding else by_class
        self.blocks = nn.ModuleList(UpBlock(before, after, norm) for before, after in pairwise(channels))
        heights = [8 << number for number in range(len(self.blocks))]
        self.attends_after: int | None = None
        if attention in heights:
            self.attends_after = heights.index(attention)
            self.attention = SelfAttention(channels[self.attends_after + 1])
        self.norm = BatchNorm(channels[-1], group=norm_group)
        self.output = nn.Conv2d(channels[-1], image.channels, 3, padding=1)
        initialize(self, initial_weights)
        normalize(self, but=self.shared)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent."""
        first, *others = latents.chunk(self.parts, 1)
        conditions = [labels] * len(self.blocks)
        if self.shared is not None:
            embedded = self.shared(labels)
            conditions = [torch.cat([embedded, part], 1) for part in others]
        features = self.unflatten(self.linear(first)).permute(0, 3, 1, 2)  # channels last
        for number, (block, condition) in enumerate(zip(self.blocks, conditions, strict=True)):
            features = block(features, condition)
            if number == self.attends_after:
                features = self.attention(features)
        return torch.tanh(self.output(F.relu(self.norm(features))))


class Discriminator(nn.Module):
    """Images and classes to logits: a linear layer over the sum of the last map, and its product with an embedding.

    The hidden maps of its blocks have the channels of their outputs: SN-GAN's have those of their inputs.

    Args:
        image: as of the generator.
        width: as of the generator; None is the paper's.
        attention, initial_weights: as of the generator.
    """

    WIDTH: ClassVar[int] = WIDTH

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int | None = None,
        attention: Attention | None = 64,
        initial_weights: Weights = "orthogonal",
    ) -> None:
        super().__init__()
        plan = plan_of(image, PLANS)
        self.classes = learned_classes(image)
        channels = [(width or self.WIDTH) * multiple for multiple in plan.discriminator]
        self.blocks = self.stages(image, channels, plan.halvings)
        heights = [(2 << len(plan.generator)) >> number for number in range(1, plan.halvings + 1)]
        if attention in heights:
            at = heights.index(attention)
            self.blocks[at] = nn.Sequential(self.blocks[at], SelfAttention(channels[at - len(self.blocks)]))
        self.linear = nn.Linear(channels[-1], 1)
        self.embedding = nn.Embedding(self.classes, channels[-1])
        initialize(self, initial_weights)
        normalize(self)

    def stages(self, image: ImageSpec, channels: list[int], halvings: int) -> nn.Sequential:
        """Return the blocks; the first `halvings` of them halve the map."""
        return nn.Sequential(
            FirstBlock(image.channels, channels[0]),
            *(
                DownBlock(before, after, halve=number < halvings, hidden=after)
                for number, (before, after) in enumerate(pairwise(channels), 1)
            ),
        )

    def forward(self, images: Images, labels: Labels) -> Logits:
        """Return one logit per image."""
        features = F.relu(self.blocks(images)).sum((2, 3))  # n c
        logits: Tensor = self.linear(features)[:, 0] + (self.embedding(labels) * features).sum(1)
        return logits
