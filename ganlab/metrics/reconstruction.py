"""Distances between images and their reconstructions, both [n, c, h, w] in [-1, 1]."""

import math

from ganlab.types import Images


def absolute_error(made: Images, images: Images) -> float:
    """Return the mean absolute difference of a number in [0, 1]."""
    return float((made - images).double().abs().mean()) / 2


def psnr(made: Images, images: Images) -> float:
    """Return the peak signal-to-noise ratio in dB, 10 log10(1 / squared error in [0, 1]): the mean over the images."""
    squared = (made - images).double().square().flatten(1).mean(1) / 4
    return float((-10 / math.log(10) * squared.log()).mean())


def distance_ratio(made: Images, images: Images) -> float:
    """Return the mean distance |x - G(E(x))| by that of the next image, |x' - G(E(x))| (Donahue et al. 2017's code).

    1 says that the reconstructions have nothing of their own images.
    """
    own, others = ((made - each).double().flatten(1).norm(dim=1).mean() for each in (images, images.roll(1, 0)))
    return float(own / others)
