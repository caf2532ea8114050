"""The two-sample test of the maximum mean discrepancy: could both sets come from one distribution?"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ganlab.keys import key
from ganlab.metrics.kernel import unbiased
from ganlab.types import Features


class TwoSamples(NamedTuple):
    """The result of a test."""

    squared_mmd: float
    """Unbiased: 0 on average for two sets of one distribution, and then as often below as above."""
    p: float
    """Probability of at least this discrepancy under one distribution; uniform in (0, 1] if there is one."""


def two_sample_test(
    x: Features, y: Features, bandwidths: Sequence[float] | Tensor, *, permutations: int = 200, seed: int = 0
) -> TwoSamples:
    """Compare the squared MMD of x [n, d] and y [m, d] with that of random splits of both (Gretton et al. 2012).

    `bandwidths` are those of `gaussian_kernel`. The smallest p is 1 / (permutations + 1).
    """
    (n, _), both = x.shape, torch.cat([x, y]).double()
    gram = gaussian_kernel(both, both, bandwidths)
    draw = torch.Generator().manual_seed(key(seed, "two-sample test"))
    first = torch.zeros(len(both), 1 + permutations, dtype=torch.float64)
    first[:n, 0] = 1  # the given split
    for split in range(permutations):
        first[torch.randperm(len(both), generator=draw)[:n], 1 + split] = 1
    first = first.to(gram.device)
    second, diagonal = 1 - first, gram.diagonal()[:, None]
    pairs = [(a * (gram @ b)).sum(0) for a, b in ((first, first), (second, second), (first, second))]
    own = [(side * diagonal).sum(0) for side in (first, second)]
    found = unbiased(pairs[0] - own[0], pairs[1] - own[1], pairs[2], n, len(y))
    return TwoSamples(float(found[0]), float((found >= found[0] - 1e-12).double().mean()))


def squared_mmd(x: Features, y: Features, bandwidths: Sequence[float] | Tensor) -> float:
    """Return the unbiased squared MMD under `gaussian_kernel` (Gretton et al. 2012, eq. 3)."""
    x, y = x.double(), y.double()
    within_x, within_y, between = (gaussian_kernel(a, b, bandwidths) for a, b in ((x, x), (y, y), (x, y)))
    sums = within_x.sum() - within_x.trace(), within_y.sum() - within_y.trace(), between.sum()
    return float(unbiased(*sums, len(x), len(y)))


def gaussian_kernel(x: Features, y: Features, bandwidths: Sequence[float] | Tensor) -> Tensor:
    """Return the mean over bandwidths s of exp(-|x_i - y_j|^2 / 2 s^2) [n, m]."""
    squares = torch.cdist(x, y).square()
    return torch.stack([(squares / (-2 * float(s) ** 2)).exp_() for s in bandwidths]).mean(0)


def median_distance(x: Features, y: Features) -> float:
    """Return the median distance between different points of both sets, the usual bandwidth (Gretton et al. 2012).

    With that alone the test hardly sees what is smaller than the whole, such as the width of one mode of many: give
    fractions of it too. 1 if all points are the same.
    """
    distances = torch.pdist(torch.cat([x, y]).double())
    apart = distances[distances > 0]
    return float(apart.median()) if len(apart) else 1.0
