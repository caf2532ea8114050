"""StyleGAN2's layers, networks and game against formulas, published counts and closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F

from ganlab.engine.runtime import Runtime
from ganlab.layers.activated import ActivatedConv2d, ActivatedLinear
from ganlab.layers.modulated import ModulatedConv2d
from ganlab.models import StyleGAN2, StyleGAN2Auto
from ganlab.networks.stylegan2 import Discriminator, Generator, Mapping
from ganlab.regularizers import PathLength
from ganlab.seeding import Noise, seed_everything
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
SMALL = {"width_base": 64, "width_max": 8, "latent": 6, "style_width": 8, "mapping_layers": 2}


def draw(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def spread(images):
    """Zeros between the pixels and around them, then the filter with a gain of 4: as defined, beyond the border too."""
    n, c, h, w = images.shape
    zeros = images.new_zeros(n, c, 2 * h, 2 * w)
    zeros[..., ::2, ::2] = images
    return filtered(F.pad(zeros, (3, 2, 3, 2)), 4.0)


def filtered(images, gain=1.0):
    """The filter at every place where it fits."""
    taps = torch.outer(TAPS, TAPS).expand(images.shape[1], 1, 4, 4)
    return gain * F.conv2d(images, taps, groups=images.shape[1])


# --- layers


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 300.0])
def test_scaling_the_features_equals_weights_per_sample(up, scale):
    layer = ModulatedConv2d(5, 7, up=up).double()
    features, styles = draw(3, 5, 6, 4), scale * draw(3, 5, seed=1)
    weights = layer.weight[None] * styles[:, None, :, None, None]  # n out in 3 3
    weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    inputs, padding = (spread(features), 0) if up else (features, 1)
    weights = weights.flip(3, 4) if up else weights
    grouped = F.conv2d(inputs.flatten(0, 1)[None], weights.flatten(0, 1), padding=padding, groups=3)
    one_by_one = torch.func.vmap(lambda x, w: F.conv2d(x[None], w, padding=padding)[0])(inputs, weights)
    ours = layer(features, styles)
    assert ours.shape[2:] == ((12, 8) if up else (6, 4))
    assert (grouped.view_as(ours) - ours).abs().max() < 1e-12
    assert (one_by_one - ours).abs().max() < 1e-12


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_a_demodulated_layer_keeps_the_variance_at_any_scale_of_the_style(scale):
    seed_everything(0)
    out = ModulatedConv2d(48, 64)(torch.randn(8, 48, 16, 16), scale * torch.randn(8, 48))
    assert out[..., 1:-1, 1:-1].std().item() == pytest.approx(1, rel=0.05)


def test_activated_layers_are_their_formulas():
    dense = ActivatedLinear(6, 4, lr_factor=0.01).double()
    conv, down = ActivatedConv2d(3, 5, 3).double(), ActivatedConv2d(3, 5, 3, down=True, gain=1.0).double()
    for layer in (dense, conv, down):
        torch.nn.init.normal_(layer.bias)
    features, images = draw(7, 6), draw(2, 3, 8, 8)
    want = F.linear(features, dense.weight * 0.01 / 6**0.5, dense.bias * 0.01)
    torch.testing.assert_close(dense(features), F.leaky_relu(want, 0.2) * 2**0.5)
    want = F.conv2d(images, conv.weight / 27**0.5, conv.bias, padding=1)
    torch.testing.assert_close(conv(images), F.leaky_relu(want, 0.2) * 2**0.5)
    blurred = filtered(F.pad(images, (2, 2, 2, 2)))
    want = F.conv2d(blurred, down.weight / 27**0.5, down.bias, stride=2)
    torch.testing.assert_close(down(images), F.leaky_relu(want, 0.2))
    assert dense.weight.std() > 50  # drawn from N(0, 1) / 0.01


# --- networks

COUNTS = [
    # px, width_base, mapping layers, discriminator, classes, and the parameters of both networks
    (32, 32768, 2, "orig", 0, 19_947_539, 20_720_641),
    (32, 32768, 2, "orig", 10, 20_215_315, 23_089_664),
    (64, 32768, 8, "resnet", 0, 27_032_600, 26_488_833),
    (256, 16384, 8, "resnet", 0, 24_767_458, 24_001_089),
    (256, 32768, 8, "resnet", 0, 30_034_338, 28_864_129),
    (512, 32768, 8, "resnet", 0, 30_276_583, 28_982_849),
    (1024, 32768, 8, "resnet", 0, 30_370_060, 29_012_513),
    (1024, 32768, 2, "resnet", 0, 28_794_124, 29_012_513),
]


@pytest.mark.parametrize(("size", "base", "layers", "architecture", "classes", "of_g", "of_d"), COUNTS)
def test_the_networks_have_as_many_parameters_as_those_of_the_authors(
    size, base, layers, architecture, classes, of_g, of_d
):
    image, conditional = ImageSpec(size, size, 3, classes), classes > 0
    with torch.device("meta"):
        g = Generator(image=image, width_base=base, mapping_layers=layers, conditional=conditional)
        d = Discriminator(image=image, width_base=base, architecture=architecture, conditional=conditional)
    assert [sum(p.numel() for p in network.parameters()) for network in (g, d)] == [of_g, of_d]
    assert len(g.noise_sizes) + 1 == 2 * math.log2(size) - 2


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_every_architecture_uses_each_of_its_parameters(architecture):
    image = ImageSpec(16, 16, 3, 4)
    seed_everything(0)
    g = Generator(image=image, architecture=architecture, conditional=True, **SMALL)
    d = Discriminator(image=image, architecture=architecture, conditional=True, width_base=64, width_max=8)
    labels = torch.arange(4)
    maps = [torch.randn(4, 1, size, size) for size in g.noise_sizes]
    images = g.synthesize(g.repeated(g.mapping(torch.randn(4, 6), labels)), *maps)
    assert images.shape == (4, 3, 16, 16)
    logits = d(images, labels)
    assert logits.shape == (4,)
    logits.square().sum().backward()
    assert [name for net in (g, d) for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_residual_halves_keep_the_variance_of_the_sum():
    seed_everything(0)
    d = Discriminator(image=ImageSpec(16, 16, 3), width_base=1024, width_max=64)
    features = torch.randn(16, 64, 16, 16)
    block = d.blocks[0]
    halves = block.second(block.first(features.clone())), block.shortcut(features)
    assert (halves[0] + halves[1]).equal(block(features))
    # The path through two activations keeps its mean square; the filter takes white noise's to (20/64)^2 of it.
    assert halves[1].square().mean().item() == pytest.approx(0.5 * (20 / 64) ** 2, rel=0.1)


def test_w_has_the_mean_square_of_so_many_activations_of_a_normalised_latent():
    seed_everything(0)
    for layers in (1, 4):
        w = Mapping(64, 0, 512, layers)(100 * torch.randn(512, 64), torch.full((512,), -1))
        assert w.square().mean().item() == pytest.approx(1.04**layers, rel=0.1)  # 2 (1 + 0.2^2) / 2 each


def test_only_the_four_largest_sizes_run_in_low_precision():
    image = ImageSpec(128, 128, 3)
    g, d = Generator(image=image, **SMALL | {"width_base": 128}), Discriminator(image=image, width_base=128)
    found = {}
    for kind, network in (("g", g), ("d", d)):
        for size, block in zip(network.sizes, network.blocks, strict=False):
            layer = block.layers[-1].convolution if kind == "g" else block.first
            layer.register_forward_hook(lambda _, __, out, at=(kind, size): found.update({at: out.dtype}))
    none = torch.full((4,), -1)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        images = g(torch.randn(4, 6), none)
        logits = d(images, none)
    assert images.dtype == logits.dtype == torch.float32
    assert {at for at, dtype in found.items() if dtype == torch.bfloat16} == {
        (kind, size) for kind in "gd" for size in (16, 32, 64, 128)
    }
    assert {("g", 4), ("g", 8), ("d", 8)} == {at for at, dtype in found.items() if dtype == torch.float32}


@pytest.mark.parametrize(
    ("height", "width", "changes", "says"),
    [
        (12, 12, {}, "not 12x12"),
        (4, 4, {}, "square images of 8, 16"),
        (2048, 2048, {}, "1024 px"),
        (16, 32, {}, "not 16x32"),
        (128, 128, {}, "model.width_base: 64 leaves no channels at 128 px; write at least 128"),
        (16, 16, {"conditional": True}, "needs labels and the data have none"),
    ],
)
def test_what_the_networks_cannot_make_is_refused(height, width, changes, says):
    with pytest.raises(UserError, match=says):
        Generator(image=ImageSpec(height, width, 3), **SMALL | changes)


# --- the game


def game(**changes):
    seed_everything(3)
    runtime = Runtime(precision="fp64", group=changes.pop("group", 4))
    model = StyleGAN2(image=ImageSpec(8, 8, 1), **SMALL | changes, runtime=runtime)
    model.configure_optimizers()
    return model


def step(model, name="generator", n=8):
    model.step(name, {"real": draw(n, 1, 8, 8), "labels": torch.full((n,), -1)})
    return model


def test_the_mean_of_w_follows_the_first_latents_of_the_generators_steps_and_reaches_the_average():
    model = game()
    latents = Noise(0, 0, group=4, dtype=torch.float64).normal("generator latents", 8, 6)
    with torch.no_grad():
        mean = model.generator.mapping(latents, torch.full((8,), -1)).mean(0)
    step(model)
    torch.testing.assert_close(model.ema.w_mean, 0.005 * mean)
    before = model.generator.w_mean.clone()
    assert step(model, "discriminator").generator.w_mean.equal(before)
    assert "generator/w" not in model.statistics.read()  # it is fed back, and not logged


def test_path_length_is_that_of_finite_differences():
    model = game(generator_regularizers={"path": PathLength(weight=2.0)})
    name = {"real": draw(4, 1, 8, 8), "labels": torch.full((4,), -1)}
    batch = model.batch("generator", name)
    with torch.no_grad():
        model.generator.blocks[0].layers[0].activation.strength.fill_(0.3)
        _, w = model.styles(batch)
        maps, direction = model.maps(batch), batch["path noise"] / 8
        squares = torch.zeros(4, w.shape[1], dtype=torch.float64)
        for layer in range(w.shape[1]):
            for at in range(w.shape[2]):
                move = torch.zeros_like(w)
                move[:, layer, at] = 1e-5
                change = model.images_of(w + move, *maps) - model.images_of(w - move, *maps)
                squares[:, layer] += ((change * direction).flatten(1).sum(1) / 2e-5).square()
    _, recorded = model.generator_loss(batch)
    torch.testing.assert_close(recorded["length"], squares.mean(1).sqrt(), rtol=1e-6, atol=0)


def test_a_second_latent_takes_over_in_nine_of_ten_samples_from_a_uniform_layer_on():
    model = game()
    cut = model.draw("generator", 4000, model.noise(0), torch.full((4000,), -1))["cut"]
    share = cut.bincount(minlength=5).double() / 4000
    assert share[0] == 0 and share[4].item() == pytest.approx(0.1, abs=0.02)  # 4: none of the four layers
    assert share[1:4].tolist() == pytest.approx([0.3] * 3, abs=0.03)
    plain = game(mixing=0.0)
    assert not {"cut", "mixed"} & step(plain).draw("generator", 4, plain.noise(0), torch.full((4,), -1)).keys()


def test_samples_do_not_depend_on_training_noise_and_are_the_same_again():
    model = game()
    with torch.no_grad():
        model.ema.blocks[1].layers[0].activation.strength.fill_(1.0)
    first = model.sample(3, seed=1)
    assert step(model, "discriminator").sample([2, 0], seed=1).equal(first[[2, 0]])
    with torch.no_grad():
        model.ema.noise_1.zero_()
    assert not model.sample(3, seed=1).equal(first)  # the constant maps are in them


@pytest.mark.parametrize(
    ("size", "gpus", "batch", "r1", "lr", "base", "half_life"),
    [
        (256, 1, 16, 0.8192, 0.0025, 16384, 5_000),
        (128, 8, 64, 0.0512, 0.0025, 16384, 20_000),
        (512, 2, 16, 3.2768, 0.0025, 32768, 5_000),
        (1024, 8, 32, 6.5536, 0.002, 32768, 10_000),
    ],
)
def test_the_rule_for_ones_own_images_is_that_of_the_authors(size, gpus, batch, r1, lr, base, half_life):
    with torch.device("meta"):
        model = StyleGAN2Auto(image=ImageSpec(size, size, 3), gpus=gpus)
    g, d = (model.players[name] for name in ("generator", "discriminator"))
    assert model.phases[0].batch == batch and len(model.remarks) == 6
    assert d.regularizers["r1"].weight == pytest.approx(r1) and d.regularizers["r1"].every == 16
    assert g.optimizer.keywords["lr"] == pytest.approx(lr * 4 / 5)  # corrected for path length at every 4th step
    assert d.optimizer.keywords["lr"] == pytest.approx(lr * 16 / 17)
    half = model.averages["generator"].images
    assert (half(10**9), half(100_000)) == (half_life, min(half_life, 5_000))
    assert model.ema.blocks[-1].rgb.weight.shape[1] == min(base // size, 512)


def test_the_rule_is_not_for_more_gpus_than_it_has_images():
    with pytest.raises(UserError, match="the rule is for 1 to 16 GPUs"):
        StyleGAN2Auto(image=ImageSpec(16, 16, 3), gpus=0)


def test_truncation_pulls_w_towards_its_mean():
    model = step(game())
    with torch.no_grad():
        model.ema.w_mean.copy_(draw(8))
    latents, none, noise = draw(5, 6, seed=1), torch.full((5,), -1), model.noise(0)
    w = model.ema.mapping(latents, none)
    half = model.ema.synthesize(model.ema.repeated((w + model.ema.w_mean) / 2))
    torch.testing.assert_close(model.truncated(latents, none, 0.5, noise, "sample"), half)
    torch.testing.assert_close(model.truncated(latents, none, 1.0, noise, "sample"), model.averaged(latents, none))
    same = model.truncated(latents, none, 0.0, noise, "sample")
    assert same.equal(same[:1].expand_as(same)) and same.std() > 0
    first, second, other = model.sample(3, truncation=0.5)
    assert not first.equal(second) and not other.equal(model.sample(3)[2])


def test_the_group_of_the_minibatch_deviation_is_that_of_the_run():
    assert game(group=2).discriminator.last[0].group == 2
    with pytest.raises(UserError, match="a batch of 6 images per process is no whole number of groups"):
        step(game(), n=6)
