"""Maxout units."""

from torch import Tensor, nn


class Maxout(nn.Module):
    """Units that are the largest of several affine functions (Goodfellow et al. 2013, eq. 1 and 2).

    Args:
        inputs: features of the input.
        outputs: units.
        pieces: affine functions of each unit.
    """

    def __init__(self, inputs: int, outputs: int, *, pieces: int = 5) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, outputs * pieces)

    def forward(self, features: Tensor) -> Tensor:
        """[n, inputs] to [n, outputs]."""
        affine: Tensor = self.linear(features).unflatten(1, (-1, self.pieces))  # n outputs pieces
        return affine.amax(2)
