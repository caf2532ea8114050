"""The networks of R3GAN (Huang et al. 2024, section 4): ResNeXt blocks without any normalisation.

Channels are `width` up to the size `widest` and halve with each doubling beyond it:

| preset | width | widest | group_width | full_stages | parameters of G, D |
|---|---|---|---|---|---|
| CIFAR-10 | 768 | 32 | 16 | 1 | 20,781,952, 21,280,512; without classes 20,732,160, 20,683,776 |
| FFHQ-64 | 768 | 32 | 16 | 1 | 22,429,824, 22,381,440 |
| FFHQ-256 | 768 | 32 | 16 | 3 | 23,057,952, 23,009,568 |
| ImageNet-32 | 1536 | 32 | 32 | 1 | 82,914,304, 86,548,992 |
| ImageNet-64 | 1536 | 64 | 32 | 1 | 103,570,432, 107,205,120 |

In mixed precision the `full_stages` smallest sizes, the first layer of the generator and the last of both networks stay
in full precision. The authors' code makes images in bfloat16, whose grain near 1 is a level of 8 bits.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganlab.layers.leaky import LeakyReLU
from ganlab.layers.pullback import Pullback, chain, convolution
from ganlab.layers.resample import Downsample, Upsample
from ganlab.layers.spectral import in_full
from ganlab.networks.conditioning import classes_of
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

BLOCKS = 2
"""Residual blocks at each size."""
EXPANSION = 2
"""Channels inside of a block, in those around it."""
SMALLEST = 4
"""The smallest map of a square power of two; the shorter side of others has from 4 to 7 px."""


def smallest_map(image: ImageSpec) -> tuple[tuple[int, int], int]:
    """Return height and width of the smallest map, and how often it doubles."""
    doublings = max(0, min(image.height, image.width).bit_length() - SMALLEST.bit_length())
    step = 2**doublings
    height, width = (max(SMALLEST, size // step) for size in (image.height, image.width))
    if (height * step, width * step) != (image.height, image.width):
        raise UserError(
            f"data.image: R3GAN makes images whose sides are multiples of {step} px at this size, not "
            f"{image.height}x{image.width}; pack the data with `--size {height * step}x{width * step}`"
        )
    return (height, width), doublings


def stage_widths(doublings: int, width: int, widest: int, group_width: int) -> list[int]:
    """Return the channels at the smallest map, at twice its size, ... at the image's."""
    widths = [width // max(1, SMALLEST * 2**stage // widest) for stage in range(doublings + 1)]
    if wrong := [each for each in widths if not each or EXPANSION * each % group_width]:
        raise UserError(
            f"model.width: {width} leaves {wrong[0]} channels, and twice as many are no groups of {group_width}; write "
            f"a multiple of {group_width * max(1, SMALLEST * 2**doublings // widest)}, or another group_width"
        )
    return widths


class Residual(nn.Module):
    """x + W3 a(W2 a(W1 x)): to twice the channels, a grouped 3x3 convolution, and back; a adds a bias first.

    It has the dtype of its last convolution, also where the input has a wider one.
    """

    def __init__(self, channels: int, group_width: int) -> None:
        super().__init__()
        inner = EXPANSION * channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, inner, 1),
            LeakyReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group_width),
            LeakyReLU(),
            nn.Conv2d(inner, channels, 1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to the same."""
        hidden: Tensor = self.layers(features)
        return features.to(hidden.dtype) + hidden

    def pulled(self, features: Tensor) -> tuple[Tensor, Pullback]:
        """Return the same with its pullback."""
        hidden, back = chain(self.layers, features)

        def backward(gradient: Tensor) -> Tensor:
            inner = back(gradient)
            return gradient.to(inner.dtype) + inner

        return features.to(hidden.dtype) + hidden, backward


def residuals(channels: int, group_width: int) -> list[nn.Module]:
    """Return the blocks of one size."""
    return [Residual(channels, group_width) for _ in range(BLOCKS)]


def transition(before: int, after: int) -> list[nn.Module]:
    """Return a 1x1 convolution if the number of channels changes."""
    return [nn.Conv2d(before, after, 1, bias=False)] if before != after else []


def fully(layer: nn.Module, features: Tensor, like: Tensor) -> Tensor:
    """Run a layer in full precision, the dtype of the weight `like`."""
    with in_full(like):
        return layer(features.to(like.dtype))  # type: ignore[no-any-return]


def fully_pulled(stage: nn.Sequential, features: Tensor, like: Tensor) -> tuple[Tensor, Pullback]:
    """Run a stage and its pullback in full precision, the dtype of the weight `like`."""
    with in_full(like):
        features, back = chain(stage, features.to(like.dtype))

    def backward(gradient: Tensor) -> Tensor:
        with in_full(like):
            return back(gradient.to(like.dtype))

    return features, backward


def initialize(network: nn.Module) -> None:
    """Draw the initial weights, with n residual blocks in the network.

    | layer | weight | bias |
    |---|---|---|
    | first two convolutions of a block | N(0, sqrt(2 / 1.04) n^(-1/4) / sqrt(fan in)) | 0 |
    | last convolution of a block | 0: it begins as the identity | none |
    | other convolutions, linear layers | N(0, 1 / sqrt(fan in)) | none |
    | the generator's basis | N(0, 1) | |
    | embedding | N(0, 1 / sqrt(classes)); the discriminator's also over sqrt(channels) | |
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 1 / math.sqrt(layer.weight[0].numel()))
    blocks = [block for block in network.modules() if isinstance(block, Residual)]
    gain = math.sqrt(2 / 1.04) * len(blocks) ** -0.25
    for block in blocks:
        first, _, second, _, last = block.layers
        for conv in (first, second):
            nn.init.normal_(conv.weight, 0.0, gain / math.sqrt(conv.weight[0].numel()))  # type: ignore[arg-type, index]
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]


class Generator(nn.Module):
    """Latents to images, of any range: a linear function of latent and class times a learned map, then the sizes.

    Args:
        image: sides that can be halved until the shorter one is from 4 to 7 px.
        width: channels up to the size `widest` in px; each doubling beyond it halves them.
        widest: see `width`.
        group_width: channels of each group of the 3x3 convolutions.
        latent: dimensions of the latent.
        embedding: dimensions of the class's embedding, which is concatenated to the latent.
        conditional: condition it on the class.
        full_stages: sizes, the smallest ones, that stay in full precision where the run's is lower.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 768,
        widest: int = 32,
        group_width: int = 16,
        latent: int = 64,
        embedding: int = 64,
        conditional: bool = False,
        full_stages: int = 1,
    ) -> None:
        super().__init__()
        self.latent, self.classes, self.full_stages = latent, classes_of(image, conditional), full_stages
        smallest, doublings = smallest_map(image)
        widths = stage_widths(doublings, width, widest, group_width)
        if conditional:
            self.embedding = nn.Embedding(self.classes, embedding)
            nn.init.normal_(self.embedding.weight, 0.0, 1 / math.sqrt(self.classes))
        self.linear = nn.Linear(latent + embedding * conditional, widths[0], bias=False)
        self.basis = nn.Parameter(torch.randn(widths[0], *smallest))
        self.blocks = nn.ModuleList([nn.Sequential(*residuals(widths[0], group_width))])
        for before, after in pairwise(widths):
            self.blocks.append(nn.Sequential(*transition(before, after), Upsample(), *residuals(after, group_width)))
        self.output = nn.Conv2d(widths[-1], image.channels, 1, bias=False)
        initialize(self)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent; labels are ignored unless the network is conditional."""
        if self.classes:
            latents = torch.cat([latents, self.embedding(labels)], dim=1)
        features = fully(self.linear, latents, self.basis)[:, :, None, None] * self.basis  # n c h w
        for number, stage in enumerate(self.blocks):
            features = fully(stage, features, self.basis) if number < self.full_stages else stage(features)
        return fully(self.output, features, self.basis)


class Discriminator(nn.Module):
    """Images to logits: the generator's sizes from the largest to the smallest, then all of the last map at once.

    With `conditional`, the logit is the inner product of the last features with the class's embedding. The arguments
    are the generator's.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 768,
        widest: int = 32,
        group_width: int = 16,
        conditional: bool = False,
        full_stages: int = 1,
    ) -> None:
        super().__init__()
        self.classes, self.full_stages = classes_of(image, conditional), full_stages
        smallest, doublings = smallest_map(image)
        widths = stage_widths(doublings, width, widest, group_width)[::-1]
        last = widths[-1]
        self.input = nn.Conv2d(image.channels, widths[0], 1, bias=False)
        self.blocks = nn.ModuleList()
        for before, after in pairwise(widths):
            self.blocks.append(nn.Sequential(*residuals(before, group_width), Downsample(), *transition(before, after)))
        self.blocks.append(nn.Sequential(*residuals(last, group_width)))
        self.output = nn.Sequential(
            nn.Conv2d(last, last, smallest, groups=last, bias=False),
            nn.Flatten(),
            nn.Linear(last, last if conditional else 1, bias=False),
        )
        if conditional:
            self.embedding = nn.Embedding(self.classes, last)
            nn.init.normal_(self.embedding.weight, 0.0, 1 / math.sqrt(self.classes * last))
        initialize(self)

    def forward(self, images: Images, labels: Labels) -> Logits:
        """Return one logit per image; labels are ignored unless the network is conditional."""
        features, weight = self.input(images), self.input.weight
        for stage, full in self.stages():
            features = fully(stage, features, weight) if full else stage(features)
        features = fully(self.output, features, weight)  # n c, or n 1
        return (features * self.embedding(labels)).sum(1) if self.classes else features[:, 0]

    def with_gradient(self, images: Images, labels: Labels) -> tuple[Images, Logits]:
        """Return each logit's gradient by its image, and the logits: see `layers.pullback`."""
        weight = self.input.weight
        features, back = convolution(self.input, images)
        backs: list[Pullback] = [back]
        for stage, full in self.stages():
            features, back = fully_pulled(stage, features, weight) if full else chain(stage, features)
            backs.append(back)
        pool, linear = self.output.parameters()
        with in_full(weight):
            rows = self.embedding(labels) @ linear if self.classes else linear.expand(len(images), -1)  # n c
            gradient: Tensor = rows[:, :, None, None] * pool[:, 0]  # of each logit by the last map, n c h w
            logits = (gradient * features).sum((1, 2, 3))  # which is linear in it
        for back in reversed(backs):
            gradient = back(gradient)
        return gradient, logits

    def stages(self) -> list[tuple[nn.Sequential, bool]]:
        """Return the layers of each size, and whether they stay in full precision."""
        mixed = len(self.blocks) - self.full_stages
        return [(stage, number >= mixed) for number, stage in enumerate(self.blocks)]  # type: ignore[misc]
