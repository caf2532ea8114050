"""Convolutions whose input channels are scaled by a style (Karras et al. 2020, section 2.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.resample import blurred, kernel
from ganlab.layers.spectral import in_full


class ModulatedConv2d(nn.Module):
    """A 3x3 convolution of weights w_oik s_i / |w_oik s_i|: modulated by a style, then demodulated (eq. 1 and 3).

    Scaling a sample's weights is scaling its features instead, before and after one convolution with common weights:
    no tensor of weights per sample, and no grouped convolution. Raw weights are N(0, 1), without an equalised scale,
    which demodulation would cancel. It cancels the scale of the style too, which is therefore divided by its largest
    value: products then keep within the range of float16.

    With `up` the size is doubled: a transposed convolution, then the filter [1, 3, 3, 1]. That equals upsampling by the
    filter, beyond the border too, and then convolving with the mirrored weights, at a quarter of the operations.

    Args:
        gain: of the output; features of variance 1 have a variance of `gain ** 2` then.
    """

    EPS = 1e-8
    kernel: Tensor

    def __init__(self, channels_in: int, channels_out: int, *, up: bool = False, gain: float = 1.0) -> None:
        super().__init__()
        self.up, self.gain = up, gain
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, 3, 3))
        if up:
            self.register_buffer("kernel", kernel(gain=4.0), persistent=False)

    def forward(self, features: Tensor, styles: Tensor) -> Tensor:
        """[n, channels_in, h, w] and [n, channels_in] to [n, channels_out, h, w], or twice h and w."""
        with in_full(self.weight):
            largest = styles.detach().abs().amax(1, keepdim=True).clamp(min=self.EPS)
            styles = styles / largest
            squares = styles.square() @ self.weight.square().sum((2, 3)).T  # n channels_out
            scale = self.gain * torch.rsqrt(squares + self.EPS / largest.square())
        features = features * styles.to(features.dtype)[:, :, None, None]
        if self.up:
            features = F.conv_transpose2d(features, self.weight.transpose(0, 1), stride=2)
            features = blurred(features, self.kernel, padding=1)
        else:
            features = F.conv2d(features, self.weight, padding=1)
        return features * scale.to(features.dtype)[:, :, None, None]


class ModulatedRGB(nn.Module):
    """A 1x1 convolution of features to colours, modulated but not demodulated, with a bias."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.scale = channels_in**-0.5

    def forward(self, features: Tensor, styles: Tensor) -> Tensor:
        """[n, channels_in, h, w] and [n, channels_in] to [n, channels_out, h, w]."""
        features = features * (styles * self.scale).to(features.dtype)[:, :, None, None]
        return F.conv2d(features, self.weight, self.bias)
