"""Penalties on the weights that a player moves: one number for a batch."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ganlab.regularizers.base import Point, Regularizer, given
from ganlab.types import PerSample


class Orthogonal(Regularizer):
    """Squared products of different units' weights (Brock et al. 2019, section 3.1; their beta, 1e-4, is `weight`).

    Weights under spectral norm are the raw ones. The gradient that the authors' code adds is half of this one's.
    """

    at = ("weights",)
    gradient = False

    def penalty(self, point: Point) -> PerSample:
        """The sum of |W W^T * (1 - I)|^2 over weights of two axes and more, with a unit's in each row of W."""
        total: Tensor = point.inputs[0].new_zeros(1)
        for weight in point.inputs:
            if weight.ndim > 1:
                rows = weight.flatten(1)
                products = rows @ rows.T
                total = total + (products - products.diag().diag()).square().sum()
        return total


class HistoricalAveraging(Regularizer):
    """Squared distance of the weights from the mean of all earlier ones (Salimans et al. 2016, section 3.3)."""

    at = ("weights",)
    gradient = False

    def penalty(self, point: Point) -> PerSample:
        """|w - mean of w_0 ... w_t|^2; it is 0 at the first step."""
        return (flat(point.inputs) - given(point.memory)).square().sum()[None]

    def memory(self, weights: Sequence[Tensor]) -> Tensor:
        """The mean of the weights so far: the initial ones."""
        return flat(weights).detach().clone()

    def remember(self, memory: Tensor, found: Mapping[str, Tensor], weights: Sequence[Tensor], steps: int) -> None:
        """Add the weights after the step to the mean."""
        memory.lerp_(flat(weights), 1 / (steps + 2))


def flat(weights: Sequence[Tensor]) -> Tensor:
    """Return all weights in one vector."""
    return torch.cat([weight.flatten() for weight in weights])
