"""Power spectra: waves lie where they should, and noise is flat."""

import math

import numpy as np
import pytest
import torch

from ganlab.metrics.power import radial_power, spectral_distance


@pytest.mark.parametrize("shape", [(16, 16), (16, 32)])
@pytest.mark.parametrize(("across", "down"), [(1, 0), (0, 3), (3, 4), (8, 8)])
def test_a_wave_has_its_power_at_its_frequency(shape, across, down):
    h, w = shape
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    wave = torch.cos(2 * math.pi * (across * x / 16 + down * y / 16)).expand(2, 3, h, w)
    frequencies, power = radial_power(5 + wave)
    at = int(power.argmax())
    assert frequencies[at] == round(math.hypot(across, down)) / 16
    assert float(power.sum() - power[at]) == pytest.approx(0, abs=1e-9)


def test_the_mean_over_circles_is_a_loop_by_hand():
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    circles = {}
    for image in images[:, 0].numpy():
        spectrum = np.abs(np.fft.fft2(image)) ** 2 / 64
        for v in range(8):
            for u in range(8):
                radius = round(math.hypot(min(v, 8 - v), min(u, 8 - u)))
                circles.setdefault(radius, []).append(spectrum[v, u])
    expected = [np.mean(circles[radius]) for radius in sorted(circles) if radius]
    np.testing.assert_allclose(radial_power(images)[1].numpy(), expected, rtol=1e-12)


def test_white_noise_is_flat_and_twice_the_contrast_is_six_decibels():
    noise = torch.randn(4000, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    power = radial_power(noise)[1]
    assert power.numpy() == pytest.approx(np.ones(11), rel=0.02)
    assert spectral_distance(power, radial_power(2 * noise)[1]) == pytest.approx(20 * math.log10(2))
    assert spectral_distance(power, power) == 0


def test_an_upsampled_picture_lacks_high_frequencies_and_a_checkerboard_has_too_many():
    noise = torch.randn(200, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(noise[..., ::2, ::2], scale_factor=2.0, mode="bilinear")
    checkered = noise.clone()
    checkered[..., ::2, ::2] += 1
    checkered[..., 1::2, 1::2] += 1
    plain, low, high = (radial_power(images)[1] for images in (noise, smooth, checkered))
    assert low[-3:].max() < 0.01 * plain[-3:].min() and high[-1] > 10 * plain[-1]
