"""Equalised layers followed by leaky ReLU, as StyleGAN2 has them (Karras et al. 2020, its code).

The factor of sqrt(2) is behind the activation there. Leaky ReLU commutes with a positive factor, so that it is a gain
of the weight and of the bias here, and needs no pass over the features.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ganlab.layers.equalized import GAIN, EqualizedConv2d, EqualizedLinear
from ganlab.layers.resample import blurred, kernel

SLOPE = 0.2


class ActivatedLinear(EqualizedLinear):
    """A dense layer and its activation.

    Args:
        lr_factor: factor on the learning rate: the weights are drawn from N(0, 1) / lr_factor, and weights and biases
            multiplied by it when they are used.
    """

    def __init__(self, features_in: int, features_out: int, *, lr_factor: float = 1.0) -> None:
        super().__init__(features_in, features_out)
        self.lr_factor = lr_factor
        with torch.no_grad():
            self.weight.div_(lr_factor)

    def forward(self, features: Tensor) -> Tensor:
        """[n, features_in] to [n, features_out]."""
        weight, bias = self.weight * (self.scale * self.lr_factor), self.bias * (GAIN * self.lr_factor)
        return F.leaky_relu(F.linear(features, weight, bias), SLOPE, inplace=True)


class ActivatedConv2d(EqualizedConv2d):
    """A convolution and its activation; with `down` of a blurred image at every second pixel, which halves the size.

    Args:
        gain: behind the activation.
    """

    kernel: Tensor

    def __init__(
        self, channels_in: int, channels_out: int, kernel_size: int, *, down: bool = False, gain: float = GAIN
    ) -> None:
        super().__init__(channels_in, channels_out, kernel_size, gain=gain)
        self.down, self.gain = down, gain
        if down:
            self.register_buffer("kernel", kernel(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[n, channels_in, h, w] to [n, channels_out, h, w], or half of h and w."""
        assert self.bias is not None
        weight, bias = self.weight * self.scale, self.bias * self.gain
        if self.down:
            images = F.conv2d(blurred(images, self.kernel, padding=2), weight, bias, stride=2)
        else:
            images = F.conv2d(images, weight, bias, padding=weight.shape[-1] // 2)
        return F.leaky_relu(images, SLOPE, inplace=True)
