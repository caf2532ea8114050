"""The networks of progressive growing: their size, what a fade shows, and what it leaves out."""

import pytest
import torch
from torch.nn import functional as F

from ganlab.networks.progressive import Discriminator, Generator
from ganlab.regularizers import input_gradient
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

PUBLISHED = {
    4: (6_556_163, 6_561_793),
    8: (11_277_318, 11_283_457),
    16: (15_998_473, 16_005_121),
    32: (20_719_628, 20_726_785),
    64: (22_490_383, 22_498_049),
    128: (22_933_394, 22_941_313),
    256: (23_044_309, 23_052_353),
    512: (23_072_120, 23_080_225),
    1024: (23_079_115, 23_087_249),
}
STAGES = [8, 16, 32]
WIDTHS = {"width_base": 64, "width_max": 12}  # 12, 12, 8 and 4 channels


def networks(size=32, channels=3, classes=0, dtype=torch.float64, **widths):
    """Both, of weights that are a function of the seed; biases too, so that none is forgotten."""
    seed_everything(4)
    image = ImageSpec(size, size, channels, classes)
    g = Generator(image=image, latent=6, conditional=classes > 0, **(widths or WIDTHS)).to(dtype)
    d = Discriminator(image=image, conditional=classes > 0, **(widths or WIDTHS)).to(dtype)
    for parameter in [*g.parameters(), *d.parameters()]:
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter)
    return g, d


def batch(size=32, channels=3, classes=0, n=8, dtype=torch.float64):
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(n, channels, size, size, generator=draw, dtype=dtype) * 2 - 1
    latents = torch.randn(n, 6, generator=draw, dtype=dtype)
    return images, latents, torch.arange(n) % classes if classes else torch.full((n,), -1)


def grown(network, size, alpha):
    network.grow(size, alpha)
    return network


@pytest.mark.parametrize("size", PUBLISHED)
def test_networks_have_the_published_number_of_parameters(size):
    image = ImageSpec(size, size, 3)
    with torch.device("meta"):
        pair = Generator(image=image), Discriminator(image=image)
    assert tuple(sum(p.numel() for p in network.parameters()) for network in pair) == PUBLISHED[size]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [0, 1, 7])
def test_every_size_runs_and_reaches_the_weights_of_its_own(channels, classes):
    g, d = networks(channels=channels, classes=classes)
    for size, alpha in [(4, 1.0), *((size, alpha) for size in STAGES for alpha in (0.5, 1.0))]:
        images, latents, labels = batch(size, channels, classes)
        for network in (grown(g, size, alpha), grown(d, size, alpha)):
            network.zero_grad(set_to_none=True)
        fake = g(latents, labels)
        assert fake.shape == (8, channels, size, size)
        logits = d(fake, labels) + d(images, labels)
        assert logits.shape == (8,) and logits.std() > 0
        logits.square().sum().backward()
        shown = {size, size // 2} if alpha < 1 else {size}
        for name, parameter in [*g.named_parameters(), *d.named_parameters()]:
            kind, at = name.split(".")[:2]
            used = int(at) in shown if kind.endswith("rgb") else kind == "last" or int(at) <= size
            assert (parameter.grad is not None) == used, (size, alpha, name)
            assert not used or (parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0), name


@pytest.mark.parametrize("size", STAGES)
def test_a_fade_begins_with_what_half_the_size_says_and_ends_without_it(size):
    g, d = networks()
    images, latents, labels = batch(size)
    half = F.avg_pool2d(images, 2)
    old_fake, old_logits = grown(g, size // 2, 1.0)(latents, labels), grown(d, size // 2, 1.0)(half, labels)
    blocky = old_fake.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(grown(g, size, 0.0)(latents, labels), blocky)
    assert torch.equal(grown(d, size, 0.0)(images, labels), old_logits)

    new_fake, new_logits = grown(g, size, 1.0)(latents, labels), grown(d, size, 1.0)(images, labels)
    assert (new_fake - blocky).abs().max() > 0.1 and (new_logits - old_logits).abs().max() > 1e-3
    for alpha in (1e-9, 0.3, 1 - 1e-9):  # images lie on a line between both; logits are continuous at its ends
        fake, logits = grown(g, size, alpha)(latents, labels), grown(d, size, alpha)(images, labels)
        torch.testing.assert_close(fake, (1 - alpha) * blocky + alpha * new_fake, rtol=0, atol=1e-12)
        if alpha != 0.3:
            torch.testing.assert_close(logits, old_logits if alpha < 0.5 else new_logits, rtol=0, atol=1e-6)


def test_a_network_built_for_1024_px_is_at_64_px_the_one_built_for_64_px():
    widths = {"width_base": 512, "width_max": 8}  # down to 1 channel
    images, latents, labels = batch(64)
    for large, small, inputs in zip(networks(1024, **widths), networks(64, **widths), (latents, images), strict=True):
        weights = large.state_dict()
        small.load_state_dict({name: weights[name] for name in small.state_dict()})
        for alpha in (0.4, 1.0):
            large.grow(64, alpha)
            small.grow(64, alpha)
            assert torch.equal(large(inputs, labels), small(inputs, labels))


@pytest.mark.parametrize(("size", "alpha"), [(4, 1.0), (8, 0.3), (8, 1.0)])
@pytest.mark.parametrize("classes", [0, 3])
def test_input_gradient_is_that_of_finite_differences(size, alpha, classes):
    """Of every pixel; the deviation couples the images, so the sum of all logits is what is differentiated."""
    _, d = networks(8, 1, classes)
    d.grow(size, alpha)
    images, _, labels = batch(size, 1, classes, n=4)
    gradient, logits = input_gradient(lambda x: d(x, labels), images)
    torch.testing.assert_close(logits, d(images, labels), rtol=0, atol=0)
    with torch.no_grad():
        nudges = torch.eye(images.numel(), dtype=torch.float64).view(-1, *images.shape) * 1e-6
        expected = torch.stack([(d(images + e, labels) - d(images - e, labels)).sum() for e in nudges]) / 2e-6
    torch.testing.assert_close(gradient, expected.view_as(images), rtol=1e-5, atol=1e-8)


def test_images_of_four_are_judged_together_and_no_others():
    """By the deviation of consecutive groups."""
    _, d = networks()
    images, _, labels = batch()
    other = images.clone()
    other[5] = -images[5]
    assert (d(other, labels) != d(images, labels)).tolist() == [False] * 4 + [True] * 4


def test_the_label_changes_what_a_conditional_network_says_and_no_other():
    for classes in (0, 3):
        g, d = networks(classes=classes)
        images, latents, labels = batch(classes=classes)
        others = (labels + 1) % 3
        assert (g(latents, others) != g(latents, labels)).flatten(1).any(1).tolist() == [classes > 0] * 8
        assert (d(images, others) != d(images, labels)).tolist() == [classes > 0] * 8
    features = d.last[:-1](d.blocks["8"](d.blocks["16"](d.blocks["32"](d.from_rgb["32"](images)))))
    logits = features @ d.last[-1].weight.T * d.last[-1].weight.shape[1] ** -0.5 + d.last[-1].bias
    expected = torch.stack([row[0] + row[1 + y] for row, y in zip(logits, labels, strict=True)])
    torch.testing.assert_close(d(images, labels), expected, rtol=0, atol=1e-12)


def test_features_stay_in_size_from_the_latent_to_the_image():
    """What equalised rates and pixel norm are for: no layer's output explodes or dies at the beginning."""
    g, d = networks(dtype=torch.float32, width_base=2048, width_max=128)
    squares = []
    for network in (g, d):
        for parameter in network.parameters():
            if parameter.dim() == 1:
                torch.nn.init.zeros_(parameter)  # as they begin
        for layer in network.modules():
            if isinstance(layer, torch.nn.LeakyReLU):
                layer.register_forward_hook(lambda *call: squares.append(call[2].square().mean().item()))
    images, latents, labels = batch(dtype=torch.float32)
    fake = g(latents, labels)
    assert len(squares) == 8 and fake.var().item() == pytest.approx(1.0, abs=0.35)
    d(images / images.std(), labels)
    assert len(squares) == 8 + 1 + 6 + 2
    # A leaky ReLU leaves (1 + 0.2**2) / 2 of a variance of 2; at the border, 3x3 weights see zeros.
    seen = [(1 - 2 / (3 * size)) ** 2 for size in (4, 8, 8, 16, 16, 32, 32)]
    assert squares[1:8] == pytest.approx([1.04 * share for share in seen], rel=0.25)
    assert all(0.1 < square < 1.5 for square in squares[8:])  # whose averages keep what 2x2 pixels have in common


@pytest.mark.parametrize("make", [Generator, Discriminator])
def test_what_it_cannot_make_is_refused(make):
    for height, width in ((20, 20), (2, 2), (32, 16), (16, 32), (0, 0), (48, 48), (2048, 2048)):
        with pytest.raises(UserError, match=rf"4, 8, 16, \.\.\. 1024 px, not {height}x{width}; .*--size"):
            make(image=ImageSpec(height, width, 3))
    with pytest.raises(UserError, match=r"model\.width_base: 31 leaves no channels at 64 px; write at least 32"):
        make(image=ImageSpec(64, 64, 3), width_base=31)
    with pytest.raises(UserError, match=r"model\.conditional=false"):
        make(image=ImageSpec(16, 16, 3), conditional=True)
