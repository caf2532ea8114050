"""Nearest neighbours and reconstructions, against loops written by hand."""

import math

import pytest
import torch

from ganlab.metrics.neighbours import nearest_neighbour_accuracy, two_sample_accuracy
from ganlab.metrics.reconstruction import absolute_error, distance_ratio, psnr


def test_nearest_neighbours_equal_a_loop():
    draw = torch.Generator().manual_seed(0)
    train, test = torch.randn(30, 3, generator=draw), torch.randn(12, 3, generator=draw)
    train_labels, test_labels = (torch.randint(2, (n,), generator=draw) for n in (30, 12))
    right = 0
    for point, label in zip(test, test_labels, strict=True):
        nearest = min(range(30), key=lambda i: (train[i] - point).norm().item())
        right += int(train_labels[nearest] == label)
    assert nearest_neighbour_accuracy(train, train_labels, test, test_labels) == pytest.approx(right / 12)


def test_two_samples_of_one_distribution_are_not_told_apart():
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 500, 3, generator=draw)
    assert two_sample_accuracy(x, y) == pytest.approx(0.5, abs=0.05)
    assert two_sample_accuracy(x, y + 100) == 1.0
    both = torch.cat([x[:10], y[:8]])
    right = 0
    for i in range(18):
        nearest = min((j for j in range(18) if j != i), key=lambda j: (both[i] - both[j]).norm().item())
        right += int((i < 10) == (nearest < 10))
    assert two_sample_accuracy(x[:10], y[:8]) == pytest.approx(right / 18)


def test_reconstructions_are_measured_in_0_to_1():
    images = torch.rand(4, 1, 3, 3) * 2 - 1
    made = images + torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None, None]
    assert absolute_error(made, images) == pytest.approx(0.125)
    assert psnr(made, images) == pytest.approx(sum(-20 * math.log10(d / 2) for d in (0.1, 0.2, 0.3, 0.4)) / 4)
    assert distance_ratio(images.roll(1, 0), images) == math.inf
    others = sum((made[i] - images[i - 1]).norm().item() for i in range(4))
    own = sum((made[i] - images[i]).norm().item() for i in range(4))
    assert distance_ratio(made, images) == pytest.approx(own / others, rel=1e-5)
