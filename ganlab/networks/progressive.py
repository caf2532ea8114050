"""The networks of progressive growing (Karras et al. 2018, table 2), from 4 px to at most 1024 px.

A network holds the layers of all its sizes and runs at one of them, `size`, which may still be fading in: see `grow`.
Its output at a size does not depend on the largest size that it was built for.

The initial weights are those of `ganlab.layers.equalized`: N(0, 1), biases 0, and at run time these gains:

| layer | gain |
|---|---|
| generator's first (from the latent) | sqrt(2) / 4 |
| to RGB; discriminator's last | 1 |
| all others | sqrt(2) |
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.equalized import (
    EqualizedConv2d,
    EqualizedConvTranspose2d,
    EqualizedLinear,
    EqualizedMeanOfConv,
    PixelNorm,
)
from ganlab.layers.leaky import LeakyReLU
from ganlab.layers.minibatch import MinibatchStd
from ganlab.networks.conditioning import classes_of
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

SMALLEST, LARGEST = 4, 1024


def sizes_of(image: ImageSpec) -> list[int]:
    """Return the sizes up to the image's: 4 px, 8 px, ..."""
    size = image.height
    if image.width != size or not SMALLEST <= size <= LARGEST or size & (size - 1):
        raise UserError(
            "data.image: progressive growing makes square images of 4, 8, 16, ... 1024 px, "
            f"not {image.height}x{image.width}; pack the data with `--size` set to one of these"
        )
    return [2**power for power in range(2, size.bit_length())]


class Growing(nn.Module):
    """Base of both networks: the size that they run at, and how far it has been faded in.

    Args:
        image: of the full size, at which a new network runs.
        width_base: channels are `2 * width_base / size`, at most `width_max`.
        width_max: largest number of channels.
    """

    alpha: Tensor

    def __init__(self, image: ImageSpec, width_base: int, width_max: int) -> None:
        super().__init__()
        self.sizes = sizes_of(image)
        if 2 * width_base < image.height:
            raise UserError(
                f"model.width_base: {width_base} leaves no channels at {image.height} px; "
                f"write at least {image.height // 2}"
            )
        self.widths = {size: min(2 * width_base // size, width_max) for size in (SMALLEST // 2, *self.sizes)}
        self.size, self.fading = image.height, False
        self.level: tuple[int, float] | None = None
        self.register_buffer("alpha", torch.ones(()), persistent=False)

    def grow(self, size: int, alpha: float) -> None:
        """Run at `size`, faded in by `alpha`: 0 shows only half the size, 1 only `size`.

        `alpha` is on the device: setting it needs no sync, and a compiled fade is compiled once. Where nothing changes,
        nothing is written: an exported graph has no state.
        """
        if (size, alpha) != self.level:
            self.size, self.fading, self.level = size, alpha < 1, (size, alpha)
            self.alpha.fill_(alpha)

    def fade(self, old: Tensor, new: Tensor) -> Tensor:
        """Interpolate between the output of half the size and that of this size."""
        return old + self.alpha * (new - old)


class Generator(Growing):
    """Latents to images: nearest upsampling, pairs of 3x3 convolutions, leaky ReLU and pixel norm, a linear RGB layer.

    While a size fades in, its image is mixed with the upsampled one of half the size. With `conditional`, the one-hot
    class is concatenated to the latent; both are pixel-normalised together.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width_base: int = 8192,
        width_max: int = 512,
        latent: int = 512,
        conditional: bool = False,
    ) -> None:
        super().__init__(image, width_base, width_max)
        self.latent, self.classes = latent, classes_of(image, conditional)
        inputs = latent + self.classes
        first = EqualizedConvTranspose2d(inputs, self.widths[SMALLEST], SMALLEST, gain=math.sqrt(2) / 4)
        self.blocks = nn.ModuleDict()
        for size in self.sizes:
            width, half = self.widths[size], self.widths[size // 2]
            begin = (
                [PixelNorm(), nn.Unflatten(1, (inputs, 1, 1)), first]
                if size == SMALLEST
                else [nn.Upsample(scale_factor=2), EqualizedConv2d(half, width, 3)]
            )
            self.blocks[str(size)] = nn.Sequential(
                *begin, LeakyReLU(), PixelNorm(), EqualizedConv2d(width, width, 3), LeakyReLU(), PixelNorm()
            )
        self.to_rgb = nn.ModuleDict(
            {str(size): EqualizedConv2d(self.widths[size], image.channels, 1, gain=1.0) for size in self.sizes}
        )

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image of the current size per latent; labels are ignored unless the network is conditional."""
        if self.classes:
            latents = torch.cat([latents, F.one_hot(labels, self.classes).to(latents.dtype)], dim=1)
        before = features = self.blocks[str(SMALLEST)](latents)
        for size in self.sizes[1 : self.sizes.index(self.size) + 1]:
            before, features = features, self.blocks[str(size)](features)
        images: Images = self.to_rgb[str(self.size)](features)
        if self.fading:
            images = self.fade(F.interpolate(self.to_rgb[str(self.size // 2)](before), scale_factor=2), images)
        return images


class Discriminator(Growing):
    """Images to logits: pairs of 3x3 convolutions, the second one averaged over 2x2 pixels, and leaky ReLU.

    The average comes before the activation as in the paper's code, not after it as in its table 2. The last block gets
    the standard deviation over `group` consecutive images. While a size fades in, its features are mixed with those of
    half the size for the averaged image. With `conditional`, the last layer has weights per class besides the common
    ones (a projection, Miyato & Koyama 2018, eq. 5); the paper's code uses the same layer to predict the class.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width_base: int = 8192,
        width_max: int = 512,
        conditional: bool = False,
        group: int = 4,
    ) -> None:
        super().__init__(image, width_base, width_max)
        self.classes = classes_of(image, conditional)
        self.from_rgb = nn.ModuleDict(
            {
                str(size): nn.Sequential(EqualizedConv2d(image.channels, self.widths[size], 1), LeakyReLU())
                for size in self.sizes
            }
        )
        self.blocks = nn.ModuleDict(
            {
                str(size): nn.Sequential(
                    EqualizedConv2d(self.widths[size], self.widths[size], 3),
                    LeakyReLU(),
                    EqualizedMeanOfConv(self.widths[size], self.widths[size // 2]),
                    LeakyReLU(),
                )
                for size in self.sizes[1:]
            }
        )
        width, dense = self.widths[SMALLEST], self.widths[SMALLEST // 2]
        self.last = nn.Sequential(
            MinibatchStd(group),
            EqualizedConv2d(width + 1, width, 3),
            LeakyReLU(),
            nn.Flatten(),
            EqualizedLinear(width * SMALLEST**2, dense),
            LeakyReLU(),
            EqualizedLinear(dense, 1 + self.classes, gain=1.0),
        )

    def forward(self, images: Images, labels: Labels) -> Logits:
        """Return one logit per image of the current size; labels are ignored unless the network is conditional."""
        features = self.from_rgb[str(self.size)](images)
        for size in self.sizes[self.sizes.index(self.size) : 0 : -1]:
            features = self.blocks[str(size)](features)
            if self.fading and size == self.size:
                features = self.fade(self.from_rgb[str(size // 2)](F.avg_pool2d(images, 2)), features)
        logits = self.last(features)  # b 1+classes
        if not self.classes:
            return logits[:, 0]  # type: ignore[no-any-return]
        return logits[:, 0] + logits.gather(1, 1 + labels[:, None])[:, 0]  # type: ignore[no-any-return]
