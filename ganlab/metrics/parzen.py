"""The log-likelihood of a Parzen window: an old measure of generators, for comparison with old tables only."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ganlab.metrics.prdc import distances_in_rows
from ganlab.types import Features


class Parzen(NamedTuple):
    """Mean log-likelihood of the test data, in nats."""

    mean: float
    standard_error: float
    """Deviation of the test data's log-likelihoods, over the root of their number."""
    sigma: float
    """The window's width that the validation data chose."""


def parzen_log_likelihood(samples: Features, validation: Features, test: Features, sigmas: Sequence[float]) -> Parzen:
    """Fit a Gaussian window of width sigma around each sample; sigma maximises the likelihood of the validation data.

    The protocol of Goodfellow et al. 2014 (section 5): 10,000 samples, 1,000 validation images, the whole test set,
    ten sigmas from 0.1 to 1 in equal ratios, pixels in [0, 1].

    The value misleads: in more than a few dimensions no number of samples brings it near the true likelihood, it jumps
    with sigma, and the centroids of k-means score higher than real images do (Theis et al. 2016, section 3.2).
    """
    chosen = sigmas[int(windows(samples, validation, sigmas).mean(1).argmax())]
    (found,) = windows(samples, test, [chosen])
    return Parzen(float(found.mean()), float(found.std() / math.sqrt(len(found))), chosen)


def windows(samples: Features, points: Features, sigmas: Sequence[float]) -> Tensor:
    """Return the log-density of each point under the mean of N(m, sigma^2 I) over the samples m [sigmas, n]."""
    found = [
        torch.stack([(distances.square() / (-2 * sigma**2)).logsumexp(1) for sigma in sigmas])
        for _, distances in distances_in_rows(points, samples)
    ]
    scale = torch.tensor(sigmas, dtype=torch.float64, device=points.device) * math.sqrt(2 * math.pi)
    return torch.cat(found, 1) - math.log(len(samples)) - points.shape[1] * scale.log()[:, None]
