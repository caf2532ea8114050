"""Nearest neighbours: how well features or codes tell classes, or two sets, apart."""

import torch
from torch import Tensor

from ganlab.types import Features


def nearest_neighbour_accuracy(train: Features, train_labels: Tensor, test: Features, test_labels: Tensor) -> float:
    """Return the share of `test` [n, d] whose nearest neighbour in `train` [m, d] has the same class; labels [n], [m].

    The distance is Euclidean. A random network's features may be near 1: compare with them.
    """
    nearest = torch.cdist(test.double(), train.double()).argmin(1)
    return float((train_labels[nearest] == test_labels).double().mean())


def two_sample_accuracy(x: Features, y: Features) -> float:
    """Return the share of both sets together whose nearest neighbour, itself left out, is of the same set.

    About 0.5 if equally many of each are drawn from one distribution, 1 if the sets are apart (Lopez-Paz & Oquab 2017,
    section 3).
    """
    both = torch.cat([x, y]).double()
    of_x = torch.arange(len(both), device=both.device) < len(x)
    nearest = torch.cdist(both, both).fill_diagonal_(torch.inf).argmin(1)
    return float((of_x[nearest] == of_x).double().mean())
