"""The resampler against a filter written as a loop; convolutions beside a change of size against two operations."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganlab.layers.fused import ConvOfDouble, MeanOfConv
from ganlab.layers.resample import Downsample, Upsample

TAPS = (1, 3, 3, 1)


def filtered(images: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """Images [n, c, h, w] with zeros around them, under the filter with a sum of 1: one tap at a time."""
    n, c, h, w = images.shape
    padded = images.new_zeros(n, c, h + before + after, w + before + after)
    padded[..., before : before + h, before : before + w] = images
    height, width = padded.shape[2] - 3, padded.shape[3] - 3
    return sum(
        a * b / 64 * padded[..., i : i + height, j : j + width] for i, a in enumerate(TAPS) for j, b in enumerate(TAPS)
    )


def up_by_hand(images: torch.Tensor) -> torch.Tensor:
    """Zeros between the pixels, 2 before and 1 after them, and a gain of 4."""
    n, c, h, w = images.shape
    apart = images.new_zeros(n, c, 2 * h, 2 * w)
    apart[..., ::2, ::2] = images
    return 4 * filtered(apart, 2, 1)


def down_by_hand(images: torch.Tensor) -> torch.Tensor:
    """Every second pixel of the filtered images."""
    return filtered(images, 1, 1)[..., ::2, ::2]


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (2, 3, 4, 6), (3, 5, 8, 8)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("layer", "by_hand"), [(Upsample(), up_by_hand), (Downsample(), down_by_hand)])
def test_values_and_gradients_are_those_of_the_explicit_filter(layer, by_hand, shape, layout):
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(shape, dtype=torch.float64, generator=draw).contiguous(memory_format=layout).requires_grad_()
    layer = layer.double()
    made, expected = layer(images), by_hand(images)
    torch.testing.assert_close(made, expected, rtol=0, atol=5e-16)
    along = torch.randn(made.shape, dtype=torch.float64, generator=draw)
    ours, theirs = (torch.autograd.grad((out * along).sum(), images)[0] for out in (made, expected))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-15)


def test_a_constant_is_kept_inside_of_the_border():
    ones = torch.ones(1, 1, 6, 6)
    assert torch.equal(Upsample()(ones)[..., 1:-1, 1:-1], torch.ones(1, 1, 10, 10))
    assert torch.equal(Downsample()(ones)[..., 1:-1, 1:-1], torch.ones(1, 1, 1, 1))


def test_the_filter_is_exact_in_bfloat16_and_no_part_of_a_checkpoint():
    layer = Downsample()
    assert torch.equal(layer.kernel, layer.kernel.bfloat16().float())
    assert not layer.state_dict()


@pytest.mark.parametrize("layer", [Upsample(), Downsample()])
def test_it_differentiates_twice(layer):
    images = torch.randn(1, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradgradcheck(lambda x: layer.double()(x).square(), images.requires_grad_())


def doubled(layer: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    return F.conv2d(F.interpolate(features, scale_factor=2), layer.weight, layer.bias, padding=1)


def halved(layer: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.conv2d(features, layer.weight, layer.bias, padding=1), 2)


@pytest.mark.parametrize(("fused", "in_two"), [(ConvOfDouble, doubled), (MeanOfConv, halved)])
@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 7)])
def test_fused_convolutions_are_those_in_two_operations_up_to_second_derivatives(fused, in_two, size):
    draw = torch.Generator().manual_seed(0)
    layer, features = fused(3, 4).double(), torch.randn(2, 3, *size, dtype=torch.float64, generator=draw)
    inputs = (features.requires_grad_(), *layer.parameters())
    found = []
    for made in (layer(features), in_two(layer, features)):
        first = torch.autograd.grad(made.pow(3).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), inputs)
        found.append((made, *first, *second))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
