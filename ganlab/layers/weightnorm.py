"""Weight norm, with an initialisation from data (Salimans & Kingma 2016)."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


class WeightNorm(nn.Module):
    """A weight's direction, with a learned length for each output: w = g v / |v| (eq. 2).

    Args:
        weight: [out, in, ...], the first v; the lengths g begin as its own.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.length = nn.Parameter(lengths(weight.detach()))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with the learned lengths."""
        return weight * (self.length / lengths(weight))


def lengths(weight: Tensor) -> Tensor:
    """Return the norm of each output's weights, [out, 1, ...]."""
    norm: Tensor = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)
    return norm


def weight_norm(layer: Layer) -> Layer:
    """Give a linear layer or a convolution a normalised weight; it must have a bias."""
    parametrize.register_parametrization(layer, "weight", WeightNorm(layer.weight))
    return layer


@torch.no_grad()
def initialize_from(network: nn.Module, *inputs: Tensor) -> None:
    """Set lengths and biases so that each output of these layers has mean 0 and variance 1 on a batch (eq. 6).

    One pass is made, in which each layer already gets what the layers before it make of the batch. The same batch on
    all ranks gives the same weights: use one that is drawn by its key, or `distributed.gather_tensor` of the first.
    """

    def rescale(layer: Any, _: Sequence[Tensor], output: Tensor) -> Tensor:
        var, mean = torch.var_mean(output, [0, *range(2, output.ndim)], correction=0, keepdim=True)
        std = (var + 1e-12).sqrt()
        norm = layer.parametrizations.weight[0]
        norm.length.div_(std.view_as(norm.length))
        layer.bias.copy_((layer.bias - mean.flatten()) / std.flatten())
        return (output - mean) / std

    hooks = [layer.register_forward_hook(rescale) for layer in network.modules() if is_normed(layer)]
    try:
        network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()


def is_normed(layer: nn.Module) -> bool:
    """Tell whether a layer has weight norm."""
    return parametrize.is_parametrized(layer, "weight") and isinstance(
        layer.parametrizations.weight[0],  # type: ignore[index, union-attr]
        WeightNorm,
    )
