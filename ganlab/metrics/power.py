"""Power spectra of images: upsampling leaves a checkerboard, which is too much power at the highest frequencies."""

import torch
from torch import Tensor

SMALLEST = 1e-12
"""Least power that is told from none."""


def radial_power(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return frequencies in cycles per pixel [m] and the mean power of images [n, c, h, w] at each [m].

    The 2-D spectrum of the grey levels, averaged over circles (Durall et al. 2020, eq. 2 and 3); frequency 0, the mean
    level, is left out. A checkerboard lies at the last one, the square root of 1/2.
    """
    h, w = images.shape[2:]
    power = torch.fft.fft2(images.double().mean(1), norm="ortho").abs().square().mean(0)  # h w
    across, down = (torch.fft.fftfreq(side, dtype=torch.float64, device=images.device) for side in (w, h))
    circles = (torch.hypot(down[:, None], across) * min(h, w)).round().long().flatten()
    sums, counts = (
        torch.zeros(int(circles.max()) + 1, dtype=torch.float64, device=images.device).index_add_(0, circles, values)
        for values in (power.flatten(), torch.ones_like(power).flatten())
    )
    frequencies = torch.arange(1, len(sums), dtype=torch.float64, device=images.device) / min(h, w)
    return frequencies, (sums / counts)[1:]


def spectral_distance(one: Tensor, other: Tensor) -> float:
    """Return the mean difference of two spectra [m] over the frequencies, in dB, whichever is higher."""
    decibels = [10 * power.clamp(min=SMALLEST).log10() for power in (one, other)]
    return float((decibels[0] - decibels[1]).abs().mean())
