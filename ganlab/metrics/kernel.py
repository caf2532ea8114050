"""The kernel distance: unbiased at any number of images."""

import math

import torch
from torch import Tensor

from ganlab.keys import key
from ganlab.types import Features


def squared_mmd(x: Features, y: Features) -> float:
    """Return the unbiased squared maximum mean discrepancy under (x.y / d + 1)^3 (Binkowski et al. 2018, section 4)."""
    x, y = x.double(), y.double()
    (n, dims), m = x.shape, len(y)
    within_x, within_y, between = ((a @ b.T / dims + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    sums = within_x.sum() - within_x.trace(), within_y.sum() - within_y.trace(), between.sum()
    return float(unbiased(*sums, n, m))


def unbiased(within_x: Tensor, within_y: Tensor, between: Tensor, n: int, m: int) -> Tensor:
    """Return the squared MMD of n and m samples from sums of their kernel, those within without the diagonals."""
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)


def kernel_distance(
    fake: Features, real: Features, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> tuple[float, float | None]:
    """Return the mean of the squared MMD over random subsets of `size` of each, and its standard error.

    A side with fewer than `size` features is used completely. The standard error is over the subsets: it does not cover
    the choice of the images themselves. It is None if a side has fewer than two subsets' features: those would be
    nearly or exactly the same in all subsets, whose spread then says nothing.
    """
    draw = torch.Generator().manual_seed(key(seed, "kernel distance"))
    values = []
    for _ in range(subsets):
        x, y = (side[torch.randperm(len(side), generator=draw)[:size].to(side.device)] for side in (fake, real))
        values.append(squared_mmd(x, y))
    found = torch.tensor(values, dtype=torch.float64)
    differ = min(len(fake), len(real)) >= 2 * size
    return float(found.mean()), float(found.std() / math.sqrt(subsets)) if differ else None
