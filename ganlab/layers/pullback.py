"""Layers run forward with their pullbacks: functions from a gradient by the output to that by the input.

A pullback is made of layers again, so a penalty on an input gradient needs no double backward. Torch's is slow for
convolutions: it takes the weights' part as a convolution with maps as filters, and of grouped ones group by group.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.layers.resample import Downsample, Upsample

Pullback = Callable[[Tensor], Tensor]


def convolution(layer: nn.Conv2d, images: Tensor) -> tuple[Tensor, Pullback]:
    """Run a convolution of stride 1."""

    def back(gradient: Tensor) -> Tensor:
        return F.conv_transpose2d(gradient, layer.weight, padding=layer.padding, groups=layer.groups)  # type: ignore[arg-type]

    return layer(images), back


def leaky(layer: nn.LeakyReLU, features: Tensor) -> tuple[Tensor, Pullback]:
    """Run a leaky ReLU with a positive slope, perhaps in place: its result has the signs of its input."""
    result = layer(features)
    signs = result.detach()  # the slope's own slope is 0, for which autograd would make and add a map of zeros

    def back(gradient: Tensor) -> Tensor:
        return torch.ops.aten.leaky_relu_backward(gradient, signs, layer.negative_slope, True)  # type: ignore[no-any-return]

    return result, back


def halving(layer: Downsample, images: Tensor) -> tuple[Tensor, Pullback]:
    """Run a downsampling, whose transpose is an upsampling without its gain, which small maps lose at less cost."""
    up = Upsample()
    return layer(images), lambda gradient: up(gradient / 4)


def chain(layers: nn.Sequential, features: Tensor) -> tuple[Tensor, Pullback]:
    """Run layers one after the other; those of other kinds than these have a method `pulled` of their own."""
    backs: list[Pullback] = []  # torch cannot compile list[Pullback]()
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            features, back = convolution(layer, features)
        elif isinstance(layer, nn.LeakyReLU):
            features, back = leaky(layer, features)
        elif isinstance(layer, Downsample):
            features, back = halving(layer, features)
        else:
            features, back = layer.pulled(features)  # type: ignore[operator]
        backs.append(back)

    def backward(gradient: Tensor) -> Tensor:
        for back in reversed(backs):
            gradient = back(gradient)
        return gradient

    return features, backward
