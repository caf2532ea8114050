"""Distances of images and of maps, one number per sample."""

from torch import Tensor

from ganlab.types import PerSample


def mean(values: Tensor) -> PerSample:
    """Average [n, ...] over all dimensions but the first."""
    return values.flatten(1).mean(1)


def l1(first: Tensor, second: Tensor) -> PerSample:
    """Average the absolute differences of each sample."""
    return mean((first - second).abs())
