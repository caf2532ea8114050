"""Multi-scale structural similarity: samples of a class that resemble each other show a lack of diversity."""

import torch
from torch import Tensor
from torch.nn import functional as F

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales, from the finest (Wang et al. 2003, section 3)."""
WINDOW = 11
SIGMA = 1.5


def scales_of(size: int) -> int:
    """Return how many scales images of `size` pixels have room for: all five from 161 px, one from 11."""
    return sum(size // 2**scale >= WINDOW for scale in range(len(WEIGHTS)))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the similarity [n] of images [n, c, h, w] in 0..255 (Wang et al. 2003, eq. 7).

    Images too small for five scales use those that fit, with weights normalised to a sum of 1. Odena et al. 2017 take
    the mean over pairs of samples of a class: higher is less diverse.
    """
    a, b = a.double(), b.double()
    scales = scales_of(min(a.shape[-2:]))
    assert scales, "images below 11 px have no scale"
    weights = torch.tensor(WEIGHTS[:scales], dtype=torch.float64, device=a.device)
    weights = weights / weights.sum()
    similarity = torch.ones(len(a), dtype=torch.float64, device=a.device)
    for scale in range(scales):
        luminance, structure = _ssim(a, b)
        term = luminance * structure if scale == scales - 1 else structure
        similarity = similarity * term.mean((1, 2, 3)).clamp_min(0) ** weights[scale]
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return similarity


def _ssim(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (var_a + var_b + c2)


def _blur(images: Tensor) -> Tensor:
    at = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    line = torch.exp(-(at**2) / (2 * SIGMA**2))
    line = (line / line.sum()).expand(images.shape[1], 1, 1, WINDOW)
    return F.conv2d(F.conv2d(images, line, groups=len(line)), line.mT, groups=len(line))
