"""ADA's corruptions: noise and cutout (Karras et al. 2020, appendix B)."""

import torch
from torch import Tensor

from ganlab.types import Images

NOISE_DRAWS = 1, 1
CUTOUT_DRAWS = 3, 0
SIDE = 0.5
"""Share of both sides of an image that cutout covers."""


def noised(images: Images, uniform: Tensor, normal: Tensor, noise: Tensor, p: Tensor) -> Images:
    """Add noise, standard normal numbers in the images' shape, times a deviation |N(0, 0.1^2)| of each image."""
    deviation = 0.1 * normal[:, 0].abs() * (uniform[:, 0] < p)
    return images + deviation.view(-1, 1, 1, 1) * noise


def cut_out(images: Images, uniform: Tensor, p: Tensor) -> Images:
    """Make a box grey whose centre is anywhere in the image; it may overhang."""
    coin, x, y = uniform.unbind(1)
    covered = (coin < p)[:, None, None]
    for at, dim in ((y, 2), (x, 3)):
        size = images.shape[dim]
        near = ((torch.arange(size, device=images.device) + 0.5) / size - at[:, None]).abs() < SIDE / 2  # n size
        covered = covered & (near[:, :, None] if dim == 2 else near[:, None])
    return torch.where(covered[:, None], torch.zeros_like(images), images)
