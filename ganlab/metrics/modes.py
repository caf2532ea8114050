"""Modes of a mixture of Gaussians: how many samples reach, how many lie near one, and how evenly."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ganlab.types import Features

NEAR = 3.0
"""Standard deviations of a mode within which a sample is of high quality."""


class Modes(NamedTuple):
    """How samples lie about the modes of a mixture."""

    covered: int
    """Modes with at least one sample within `NEAR` standard deviations."""
    high_quality: float
    """Share of the samples within `NEAR` standard deviations of a mode."""
    reverse_kl: float
    """See `reverse_kl`; every sample counts for its nearest mode, however far away."""


def modes_of(points: Features, centres: Features, std: float) -> Modes:
    """Compare points [n, d] with Gaussians of one deviation (Srivastava et al. 2017, section 4.1; Lin et al. 2018).

    They take 2,500 points. Points drawn from the mixture itself are of high quality with the probability of a chi
    distribution below 3: 0.9889 in the plane. A diffuse cloud covers every mode too, so read the three together.
    """
    distance, nearest = torch.cdist(points.double(), centres.double()).min(1)
    near = distance <= NEAR * std
    counts = torch.bincount(nearest, minlength=len(centres))
    return Modes(len(nearest[near].unique()), float(near.double().mean()), reverse_kl(counts))


def reverse_kl(counts: Tensor) -> float:
    """Return KL(h | uniform) in nats of the histogram h of samples over modes, given their counts [modes].

    0 for equal counts, log(modes) if one mode has all. n samples of the uniform distribution itself have about
    (modes - 1) / 2n. For data whose modes are classes, such as stacked digits, a classifier gives the counts.
    """
    share = counts.double() / counts.sum()
    return float(torch.special.xlogy(share, share).sum()) + math.log(len(counts))
