"""Distances of images and of maps, one number per sample."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ganlab.types import Images, PerSample


def mean(values: Tensor) -> PerSample:
    """Average [n, ...] over all dimensions but the first."""
    return values.flatten(1).mean(1)


def l1(first: Tensor, second: Tensor) -> PerSample:
    """Average the absolute differences of each sample."""
    return mean((first - second).abs())


def half_square(first: Tensor, second: Tensor) -> PerSample:
    """Half the squared distance of each sample: -log N(first; second, 1), up to a constant."""
    return (first - second).square().flatten(1).sum(1) / 2


def cross_entropy(logits: Images, images: Images) -> PerSample:
    """-log p(x | logits) of pixels that are Bernoulli variables, summed over each image in [-1, 1]."""
    return binary_cross_entropy_with_logits(logits, (images + 1) / 2, reduction="none").flatten(1).sum(1)
