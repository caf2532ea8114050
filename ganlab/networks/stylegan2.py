"""The networks of StyleGAN2 (Karras et al. 2020, figures 2 and 7) for square images of 8, 16, 32, ... 1024 px.

The initial weights are N(0, 1), biases 0, and at run time these gains:

| layer | gain on the weight | bias |
|---|---|---|
| mapping network | sqrt(2 / fan in); the learning rate is a hundredth | 0 |
| styles, an affine map of w | 1 / sqrt(fan in) | 1 |
| convolution of the generator | demodulated, then sqrt(2) | 0 |
| to RGB; discriminator's last; shortcuts | 1 / sqrt(fan in) | 0, none for shortcuts |
| the discriminator's others | sqrt(2 / fan in) | 0 |

The constant is N(0, 1), and the strengths of the noise begin at 0.
"""

from contextlib import nullcontext
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.activated import SLOPE, ActivatedConv2d, ActivatedLinear
from ganlab.layers.equalized import GAIN, EqualizedLinear, PixelNorm
from ganlab.layers.minibatch import MinibatchStd
from ganlab.layers.modulated import ModulatedConv2d, ModulatedRGB
from ganlab.layers.resample import Downsample, Upsample
from ganlab.layers.spectral import in_full
from ganlab.networks.conditioning import classes_of
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

SMALLEST, LARGEST = 4, 1024
LOW = 4
"""Number of sizes, the largest ones, that run in low precision if the run has one, as in the authors' code."""
Architecture = Literal["skip", "resnet", "orig"]
"""Images summed over the sizes, residual blocks, or neither (figure 7)."""


def widths_of(image: ImageSpec, width_base: int, width_max: int) -> dict[int, int]:
    """Return the channels at each size from 4 px on: `width_base / size`, at most `width_max`."""
    size = image.height
    if image.width != size or not 2 * SMALLEST <= size <= LARGEST or size & (size - 1):
        raise UserError(
            "data.image: StyleGAN2 makes square images of 8, 16, 32, ... 1024 px, not "
            f"{image.height}x{image.width}; pack the data with `--size` set to one of these"
        )
    if width_base < size:
        raise UserError(f"model.width_base: {width_base} leaves no channels at {size} px; write at least {size}")
    return {2**power: min(width_base >> power, width_max) for power in range(2, size.bit_length())}


class Mapping(nn.Module):
    """Latents, classes or both to w (section 2 of Karras et al. 2019): both are normalised to a mean square of 1.

    Args:
        latent: dimensions of the latent; 0 for a mapping of classes alone.
        classes: number of classes; 0 for a mapping of latents alone.
        width: dimensions of w and of every layer.
        layers: their number.
    """

    LR_FACTOR = 0.01

    def __init__(self, latent: int, classes: int, width: int, layers: int) -> None:
        super().__init__()
        self.latent, self.classes, self.norm = latent, classes, PixelNorm()
        if classes:
            self.embedding = EqualizedLinear(classes, width, gain=1.0)
        sizes = [latent + width * bool(classes), *[width] * layers]
        self.layers = nn.Sequential(*(ActivatedLinear(a, b, lr_factor=self.LR_FACTOR) for a, b in pairwise(sizes)))

    def forward(self, latents: Latents | None, labels: Labels) -> Tensor:
        """[n, latent] and [n] to [n, width]."""
        with in_full(labels):
            inputs = [] if latents is None else [self.norm(latents)]
            if self.classes:
                one_hot = labels[:, None] == torch.arange(self.classes, device=labels.device)
                inputs.append(self.norm(self.embedding(one_hot.to(self.embedding.weight.dtype))))
            w: Tensor = self.layers(torch.cat(inputs, 1))
            return w


class Style(EqualizedLinear):
    """The affine map from w to a style, which begins around 1; in full precision."""

    def __init__(self, style_width: int, channels: int) -> None:
        super().__init__(style_width, channels, gain=1.0)
        nn.init.ones_(self.bias)

    def forward(self, w: Tensor) -> Tensor:
        """[n, style_width] to [n, channels]."""
        with in_full(w):
            return super().forward(w)


class NoisyActivation(nn.Module):
    """Noise of a learned strength, a bias, and leaky ReLU; the factor of sqrt(2) behind it is in the summands."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        """[n, channels, h, w], which it changes, and [n, 1, h, w], or [h, w] for all, to the first's shape."""
        features.add_((noise * (GAIN * self.strength)).to(features.dtype))
        features.add_((GAIN * self.bias).to(features.dtype)[:, None, None])
        return F.leaky_relu(features, SLOPE, inplace=True)


class StyledLayer(nn.Module):
    """A modulated convolution with noise, bias and activation."""

    def __init__(self, before: int, after: int, style_width: int, *, up: bool) -> None:
        super().__init__()
        self.style = Style(style_width, before)
        self.convolution = ModulatedConv2d(before, after, up=up, gain=GAIN)
        self.activation = NoisyActivation(after)

    def forward(self, features: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """[n, before, h, w] and [n, style_width] to [n, after, h, w]; twice h and w with `up`."""
        return self.activation(self.convolution(features, self.style(w)), noise)  # type: ignore[no-any-return]


class Shortcut(nn.Conv2d):
    """A 1x1 convolution without bias, times sqrt(1/2): one of two halves of a sum that keeps the variance."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 1, bias=False)
        self.scale = (2 * before) ** -0.5
        nn.init.normal_(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, h, w]."""
        return F.conv2d(features, self.weight * self.scale)


class GeneratorBlock(nn.Module):
    """The layers of one size, the first of which doubles the size before; and its colours, if it has some."""

    def __init__(
        self, before: int, after: int, colours: int, style_width: int, architecture: Architecture, last: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList([StyledLayer(before, after, style_width, up=True)] if before else [])
        self.layers.append(StyledLayer(after, after, style_width, up=False))
        self.shortcut = Shortcut(before, after) if before and architecture == "resnet" else None
        self.upsample = Upsample()
        self.rgb: ModulatedRGB | None = None
        if last or architecture == "skip":
            self.rgb_style, self.rgb = Style(style_width, after), ModulatedRGB(after, colours)

    def forward(
        self, features: Tensor, image: Tensor | None, w: Tensor, *noise: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Run at twice the size, except in the first block.

        Args:
            features: [n, before, h, w].
            image: [n, c, h, w], the sum of the colours so far; None before the first ones.
            w: [n, layers + 1, style_width], of which the last one is for the colours.
            noise: [n, 1, h, w] for each layer.
        """
        hidden = features
        for layer, own, maps in zip(self.layers, w.unbind(1), noise, strict=False):
            hidden = layer(hidden, own, maps)
        if self.shortcut is not None:
            hidden = hidden * 0.5**0.5 + self.upsample(self.shortcut(features))
        if self.rgb is not None:
            colours = self.rgb(hidden, self.rgb_style(w[:, -1])).to(w.dtype)
            image = colours if image is None else self.upsample(image) + colours
        return hidden, image


class Constant(nn.Module):
    """The learned input of the synthesis, the same for all samples."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.randn(channels, SMALLEST, SMALLEST))

    def forward(self, w: Tensor) -> Tensor:
        """[n, ...], of which only n is used, to [n, channels, 4, 4]."""
        return self.value.expand(w.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)


class Generator(nn.Module):
    """Latents to w, and w with noise to images.

    Without noise it adds constant maps, drawn when the network is made: that is how samples are made.

    Args:
        image: square, of 8, 16, 32, ... 1024 px.
        width_base, width_max: channels at a size are `width_base / size`, at most `width_max`.
        latent: dimensions of the latent.
        style_width: dimensions of w and width of the mapping network.
        mapping_layers: layers of the mapping network.
        architecture: how the colours come together.
        conditional: the mapping network sees the class.
    """

    w_mean: Tensor

    def __init__(
        self,
        *,
        image: ImageSpec,
        width_base: int = 32768,
        width_max: int = 512,
        latent: int = 512,
        style_width: int = 512,
        mapping_layers: int = 8,
        architecture: Architecture = "skip",
        conditional: bool = False,
    ) -> None:
        super().__init__()
        widths = widths_of(image, width_base, width_max)
        self.latent, self.classes, self.sizes = latent, classes_of(image, conditional), list(widths)
        self.low = self.sizes[1:][-LOW:]
        self.mapping = Mapping(latent, self.classes, style_width, mapping_layers)
        self.register_buffer("w_mean", torch.zeros(style_width))
        self.constant = Constant(widths[SMALLEST])
        self.blocks = nn.ModuleList(
            GeneratorBlock(
                widths.get(size // 2, 0), width, image.channels, style_width, architecture, size == image.height
            )
            for size, width in widths.items()
        )
        for number, size in enumerate(self.noise_sizes):
            self.register_buffer(f"noise_{number}", torch.randn(size, size))

    @property
    def noise_sizes(self) -> list[int]:
        """Sides of the maps of noise, one for each layer but those of the colours, px."""
        return [SMALLEST, *(size for size in self.sizes[1:] for _ in range(2))]

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent; labels are ignored unless the network is conditional."""
        return self.synthesize(self.repeated(self.mapping(latents, labels)))

    def repeated(self, w: Tensor) -> Tensor:
        """Give every layer the same w: [n, style_width] to [n, layers, style_width]."""
        return w[:, None].expand(-1, len(self.noise_sizes) + 1, -1)

    def synthesize(self, w: Tensor, *noise: Tensor) -> Images:
        """Return the images, not clamped, of w [n, layers, style_width] and noise [n, 1, h, w] of `noise_sizes`."""
        maps = noise or [getattr(self, f"noise_{number}") for number in range(len(self.noise_sizes))]
        features, first, last = self.constant(w), 0, 1
        image: Tensor | None = None
        for size, block in zip(self.sizes, self.blocks, strict=True):
            with nullcontext() if size in self.low else in_full(w):
                features, image = block(features, image, w[:, first : last + 1], *maps[first:last])
            first, last = last, last + 2
        assert image is not None
        return image


class DiscriminatorBlock(nn.Module):
    """Two convolutions, the second of which halves the size, beside a shortcut if there is one."""

    def __init__(self, before: int, after: int, architecture: Architecture) -> None:
        super().__init__()
        residual = architecture == "resnet"
        self.first = ActivatedConv2d(before, before, 3)
        self.second = ActivatedConv2d(before, after, 3, down=True, gain=1.0 if residual else GAIN)
        self.shortcut = nn.Sequential(Downsample(), Shortcut(before, after)) if residual else None

    def forward(self, features: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, h/2, w/2]."""
        hidden: Tensor = self.second(self.first(features))
        return hidden if self.shortcut is None else hidden + self.shortcut(features)


class Discriminator(nn.Module):
    """Images to logits; the last block gets the standard deviation over `group` consecutive images.

    With `conditional` the logit is the inner product of the features with a mapping of the class, over the root of
    their number.
    """

    MAPPING_LAYERS = 8

    def __init__(
        self,
        *,
        image: ImageSpec,
        width_base: int = 32768,
        width_max: int = 512,
        architecture: Architecture = "resnet",
        conditional: bool = False,
        group: int = 4,
    ) -> None:
        super().__init__()
        widths = widths_of(image, width_base, width_max)
        self.classes, self.sizes = classes_of(image, conditional), list(widths)[::-1]
        self.low = self.sizes[:-1][:LOW]
        seeing = self.sizes if architecture == "skip" else self.sizes[:1]
        self.from_rgb = nn.ModuleList(ActivatedConv2d(image.channels, widths[size], 1) for size in seeing)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(widths[size], widths[size // 2], architecture) for size in self.sizes[:-1]
        )
        if architecture == "skip":
            self.downsample = Downsample()
        width = widths[SMALLEST]
        self.last = nn.Sequential(
            MinibatchStd(group),
            ActivatedConv2d(width + 1, width, 3),
            nn.Flatten(),
            ActivatedLinear(width * SMALLEST**2, width),
            EqualizedLinear(width, width if self.classes else 1, gain=1.0),
        )
        if self.classes:
            self.mapping = Mapping(0, self.classes, width, self.MAPPING_LAYERS)

    def forward(self, images: Images, labels: Labels) -> Logits:
        """Return one logit per image; labels are ignored unless the network is conditional."""
        features = self.features(images)
        with in_full(images):
            found = self.last(features.to(images.dtype))
            if not self.classes:
                return found[:, 0]  # type: ignore[no-any-return]
            wanted = self.mapping(None, labels)
            return (found * wanted).sum(1) * wanted.shape[1] ** -0.5  # type: ignore[no-any-return]

    def features(self, images: Images) -> Tensor:
        """Return the features at 4 px."""
        with in_full(images):
            seen = [images]
            for _ in self.from_rgb[1:]:
                seen.append(self.downsample(seen[-1]))
        features = images.new_zeros(())
        for number, size in enumerate(self.sizes):
            with nullcontext() if size in self.low else in_full(images):
                features = features if size in self.low else features.to(images.dtype)
                if number < len(self.from_rgb):
                    features = features + self.from_rgb[number](seen[number])
                if size > SMALLEST:
                    features = self.blocks[number](features)
        return features
