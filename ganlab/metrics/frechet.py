"""The Fréchet distance between two sets of features, each modelled as a Gaussian."""

import torch
from torch import Tensor

from ganlab.metrics.moments import Moments


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) (Heusel et al. 2017, eq. 6; Dowson & Landau 1982).

    It has a bias of about d / n: values are comparable only at equal counts.
    """
    return gaussian_distance(a.mean, a.covariance, b.mean, b.covariance)


def gaussian_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """Return the Fréchet distance between two Gaussians, given in float64: means [d], covariances [d, d].

    C1 C2 has the eigenvalues of F^T C2 F for any F F^T = C1. That matrix is symmetric, so no square root of a
    non-symmetric matrix is needed, and there are no imaginary parts.
    """
    factor, singular = torch.linalg.cholesky_ex(covariance1)
    if singular:  # then a column for each direction in which C1 is not zero
        values, vectors = torch.linalg.eigh(covariance1)
        some = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
        factor = vectors[:, some] * values[some].sqrt()  # d rank
    roots = torch.linalg.eigvalsh(factor.T @ covariance2 @ factor).clamp_min(0).sqrt()
    distance = (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * roots.sum()
    return float(distance)
