"""Layers with an equalised learning rate, and pixel norm (Karras et al. 2018, sections 4.1 and 4.2).

An equalised weight is drawn from N(0, 1) and multiplied by `gain / sqrt(fan in)` when it is used, not when it is drawn:
under Adam, whose step size does not depend on the gradient's scale, all weights then learn at the same speed. Biases
start at 0. An input of variance 1 gives an output of variance `gain ** 2`; the default compensates for a ReLU.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.fused import mean_of_conv

GAIN = math.sqrt(2)


class EqualizedConv2d(nn.Conv2d):
    """A convolution of stride 1 that keeps the size."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, gain: float = GAIN) -> None:
        super().__init__(channels_in, channels_out, kernel, padding=kernel // 2)
        self.scale = gain / math.sqrt(channels_in * kernel**2)
        draw(self)

    def forward(self, images: Tensor) -> Tensor:
        """[n, channels_in, h, w] to [n, channels_out, h, w]."""
        return F.conv2d(images, self.weight * self.scale, self.bias, padding=self.padding)


class EqualizedMeanOfConv(EqualizedConv2d):
    """The mean of 2x2 of a 3x3 convolution, as one: see `ganlab.layers.fused`."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3)

    def forward(self, images: Tensor) -> Tensor:
        """[n, channels_in, h, w] to [n, channels_out, h/2, w/2]."""
        return mean_of_conv(images, self.weight * self.scale, self.bias)


class EqualizedConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution of a single pixel: a dense layer with one bias per output channel."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, gain: float = GAIN) -> None:
        super().__init__(channels_in, channels_out, kernel)
        self.scale = gain / math.sqrt(channels_in)
        draw(self)

    def forward(self, pixels: Tensor, output_size: list[int] | None = None) -> Tensor:
        """[n, channels_in, 1, 1] to [n, channels_out, kernel, kernel]."""
        return F.conv_transpose2d(pixels, self.weight * self.scale, self.bias)


class EqualizedLinear(nn.Linear):
    """A dense layer."""

    def __init__(self, features_in: int, features_out: int, *, gain: float = GAIN) -> None:
        super().__init__(features_in, features_out)
        self.scale = gain / math.sqrt(features_in)
        draw(self)

    def forward(self, features: Tensor) -> Tensor:
        """[n, features_in] to [n, features_out]."""
        return F.linear(features, self.weight * self.scale, self.bias)


def draw(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> None:
    """Draw an equalised layer's weights from N(0, 1); its bias starts at 0."""
    assert layer.bias is not None
    nn.init.normal_(layer.weight)
    nn.init.zeros_(layer.bias)


class PixelNorm(nn.Module):
    """Normalise the features of each pixel or latent to a mean square of 1 (Karras et al. 2018, section 4.2)."""

    EPS = 1e-8

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, ...] to the same; computed in float32 at least."""
        # The mean over the last dimension keeps the gradient channels-last too.
        wide = features.movedim(1, -1).to(torch.promote_types(features.dtype, torch.float32))
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.EPS)).movedim(-1, 1).to(features.dtype)
