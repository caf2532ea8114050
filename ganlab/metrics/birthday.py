"""The birthday test of the size of a generator's support (Arora & Zhang 2018)."""

import math
from typing import NamedTuple

import torch

from ganlab.types import Features


class Pair(NamedTuple):
    """Two images of a sample that may be the same."""

    first: int
    second: int
    distance: float


def closest_pairs(features: Features, count: int) -> list[Pair]:
    """Return the `count` closest pairs of a sample [n, d], to be judged by eye: are the two one image?"""
    squares = features.double().square().sum(1)
    squared = squares[:, None] + squares - 2 * features.double() @ features.double().T
    first, second = torch.triu_indices(len(features), len(features), 1, device=features.device)
    between = squared[first, second].clamp_min(0).sqrt()
    found = between.topk(min(count, len(between)), largest=False)
    return [
        Pair(int(first[i]), int(second[i]), float(distance))
        for i, distance in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]


def support_size(samples: int, share: float) -> float:
    """Return the size of a uniform support of which `samples` hold a duplicate with probability `share`.

    1 - exp(-s (s - 1) / (2 N)) = share, solved for N; a support that is not uniform is larger. With share 1/2, the
    paper's rule: N is about s^2 (here s^2 / 1.39).
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share}: of all batches or of none; take larger or smaller batches")
    return samples * (samples - 1) / (-2 * math.log1p(-share))
