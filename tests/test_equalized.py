"""Equalised layers and pixel norm against their formulas."""

import math

import pytest
import torch

from ganlab.layers.equalized import (
    EqualizedConv2d,
    EqualizedConvTranspose2d,
    EqualizedLinear,
    EqualizedMeanOfConv,
    PixelNorm,
)
from ganlab.seeding import seed_everything

pytestmark = pytest.mark.usefixtures("one_thread")

GAINS = [{}, {"gain": 1.0}, {"gain": math.sqrt(2) / 4}]


def layers(**gain):
    """A layer of each kind, an input of variance 1 and the sum that an output is, by hand, of raw weights."""
    seed_everything(1)
    conv, first, dense = (
        EqualizedConv2d(64, 96, 3, **gain),
        EqualizedConvTranspose2d(128, 64, 4, **gain),
        EqualizedLinear(512, 256, **gain),
    )
    images, pixels, features = torch.randn(4, 64, 16, 16), torch.randn(64, 128, 1, 1), torch.randn(64, 512)
    yield conv, images, 64 * 9, lambda w: torch.nn.functional.conv2d(images, w)[:, :, 3, 5], (slice(None),) * 2 + (4, 6)
    yield first, pixels, 128, lambda w: torch.einsum("nc,coyx->noyx", pixels[..., 0, 0], w), ...
    yield dense, features, 512, lambda w: features @ w.T, ...


@pytest.mark.parametrize("gain", GAINS, ids=str)
def test_a_layers_output_has_the_variance_of_its_gain_and_is_its_raw_weights_scaled(gain):
    wanted = gain.get("gain", math.sqrt(2))
    for layer, inputs, fan_in, by_hand, place in layers(**gain):
        weight = layer.weight.detach()
        assert abs(weight.mean()) < 4.5 / weight.numel() ** 0.5 and (layer.bias == 0).all()
        assert abs(weight.std() - 1) < 4.5 / (2 * weight.numel()) ** 0.5
        with torch.no_grad():
            out = layer(inputs)
            inner = out[..., 1:-1, 1:-1] if isinstance(layer, EqualizedConv2d) else out  # at the border it sees zeros
            assert inner.var() == pytest.approx(wanted**2, rel=0.05)
            layer.bias.copy_(torch.randn(len(layer.bias)))
            bias = layer.bias.view(-1, *[1] * (out[place].dim() - 2))
            expected = by_hand(weight * wanted / math.sqrt(fan_in)) + bias
            torch.testing.assert_close(layer(inputs)[place], expected, rtol=1e-4, atol=1e-5)


def test_a_convolution_keeps_the_size():
    assert EqualizedConv2d(2, 5, 3)(torch.zeros(1, 2, 6, 4)).shape == (1, 5, 6, 4)
    assert EqualizedConv2d(2, 5, 1)(torch.zeros(1, 2, 6, 4)).shape == (1, 5, 6, 4)


def test_a_mean_of_a_convolution_is_that_of_the_plain_layer_with_the_same_weights():
    fused, plain = EqualizedMeanOfConv(3, 5).double(), EqualizedConv2d(3, 5, 3).double()
    torch.nn.init.normal_(fused.bias)
    plain.load_state_dict(fused.state_dict())
    images = torch.randn(2, 3, 6, 4, dtype=torch.float64)
    torch.testing.assert_close(fused(images), torch.nn.functional.avg_pool2d(plain(images), 2), rtol=0, atol=1e-12)


def test_pixel_norm_is_the_formula_of_the_paper_and_is_computed_in_full():
    features = torch.randn(3, 5, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 7
    rows = features.permute(0, 2, 3, 1).reshape(-1, 5).numpy()
    expected = rows / ((rows**2).mean(1, keepdims=True) + 1e-8) ** 0.5
    out = PixelNorm()(features)
    assert abs(out.permute(0, 2, 3, 1).reshape(-1, 5).numpy() - expected).max() < 1e-12
    tiny = torch.full((1, 4), 1e-4)  # whose square is as small as what is added to it
    torch.testing.assert_close(PixelNorm()(tiny), torch.full((1, 4), 0.5**0.5))
    low = PixelNorm()(tiny.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), torch.full((1, 4), 0.5**0.5), rtol=1e-2, atol=0)
