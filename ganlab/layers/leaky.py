"""Leaky ReLU."""

from torch import nn


class LeakyReLU(nn.LeakyReLU):
    """Leaky ReLU with a slope of 0.2 below 0, in place.

    Its backward pass then reads its result, which the next layer keeps anyway. Not in place it would keep its input,
    which is as large again; compiled, a mask of bytes, which torch writes to a CPU's memory one by one.
    """

    def __init__(self) -> None:
        super().__init__(0.2, inplace=True)
