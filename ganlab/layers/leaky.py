"""Leaky ReLU."""

from torch import nn


class LeakyReLU(nn.LeakyReLU):
    """Leaky ReLU with a slope of 0.2 below 0, in place.

    The backward pass then needs only the output, which the next layer saves anyway. Out of place, it would save its
    input too; compiled, a byte mask, which is slow on a CPU.
    """

    def __init__(self) -> None:
        super().__init__(0.2, inplace=True)
