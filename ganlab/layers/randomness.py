"""Layers that are random in training: the random numbers are an input, so that a network remains a pure function.

A network with such layers has an attribute `noise`, the standard normal numbers that it needs for each sample, and
takes them as its last input, [n, noise]. The game draws them, keyed by their name and their position in the run.
"""

from statistics import NormalDist

from torch import Tensor, nn


class Dropout(nn.Module):
    """Set a random share of the inputs to 0 and divide the others by the share that is kept (Srivastava et al. 2014).

    Args:
        keep: probability that an input is kept.
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep, self.threshold = keep, NormalDist().inv_cdf(keep)

    def forward(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """Drop inputs of any shape where noise of that shape, standard normal, is above the quantile of `keep`."""
        return inputs * (noise < self.threshold) / self.keep


class GaussianNoise(nn.Module):
    """Add normal noise to the inputs (Salimans et al. 2016: 0.3 at the image, 0.5 between layers).

    Args:
        std: its standard deviation.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """Add noise, standard normal, to inputs of its shape."""
        return inputs + self.std * noise
