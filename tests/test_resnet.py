"""The residual networks against published counts, the table of initial weights, and the papers' blocks written out."""

from functools import partial

import pytest
import torch
from repository import REPOSITORY
from torch import nn
from torch.nn import functional as F

from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.networks import resnet
from ganlab.regularizers import input_gradient
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

AT_64_PX = ["data.image.height=64", "data.image.width=64", "model.generator_batch=1"]


def networks(size=16, channels=3, classes=0, width=4, latent=6, **discriminator):
    image = ImageSpec(size, size, channels, classes)
    return (
        resnet.Generator(image=image, width=width, latent=latent, conditional=classes > 0),
        resnet.Discriminator(image=image, width=width, conditional=classes > 0, **discriminator),
    )


def batch(n, size=16, channels=3, classes=0, latent=6, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(n, channels, size, size, generator=draw, dtype=dtype) * 2 - 1
    latents = torch.randn(n, latent, generator=draw, dtype=dtype)
    return images, latents, torch.arange(n) % classes if classes else torch.full((n,), -1)


@pytest.mark.parametrize(
    ("path", "overrides", "generator", "discriminator"),
    [
        ("cifar10/sngan.yaml", [], 4_276_739, 1_053_824),
        ("cifar10/projection.yaml", [], 4_304_387, 1_055_104),
        ("cifar10/wgan_gp.yaml", [], 1_204_483, 1_053_825),
        ("stl10/sngan.yaml", [], 4_878_083, 10_141_441),
        ("imagenet128/sngan.yaml", AT_64_PX, 12_220_675, 10_141_441),
        ("imagenet128/sngan.yaml", [], 32_150_787, 29_017_857),
        ("imagenet128/projection.yaml", [], 41_996_931, 30_041_857),
    ],
)
def test_shipped_configs_have_the_published_number_of_parameters(path, overrides, generator, discriminator):
    with torch.device("meta"):
        model = build_model(load(REPOSITORY / "configs" / path, overrides))
    for network, count in ((model.generator, generator), (model.discriminator, discriminator)):
        assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("size", [32, 48])
def test_initial_weights_are_those_of_the_table(size):
    seed_everything(5)
    for network in networks(size, classes=5, width=16, latent=128):
        for name, parameter in network.named_parameters():
            weight = parameter.detach().double()
            if weight.dim() == 1 or "norm" in name:
                value = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                assert (weight == value).all(), name
                continue
            of_a_block = name.startswith("blocks") and weight.shape[2:] == (3, 3)
            area = weight[0, 0].numel()  # Glorot & Bengio 2010, eq. 16, times the gain
            variance = (2 if of_a_block else 1) * 2 / (area * (weight.shape[0] + weight.shape[1]))
            bound, n = (3 * variance) ** 0.5, weight.numel()
            assert weight.abs().max() <= bound * (1 + 1e-6), name
            assert weight.abs().max() > bound * (1 - 10 / n), name
            assert abs(weight.mean()) < 4.5 * (variance / n) ** 0.5, name
            assert abs(weight.square().mean() / variance - 1) < 4.5 * (0.8 / n) ** 0.5, name  # uniform: kurtosis 1.8


@pytest.mark.slow
@pytest.mark.parametrize("size", resnet.PLANS)
@pytest.mark.parametrize(("channels", "classes", "low"), [(1, 0, False), (3, 1, True), (4, 7, False), (1, 5, True)])
def test_every_shape_of_network_runs(size, channels, classes, low):
    kinds = {"size": size, "channels": channels, "classes": classes}
    in_precision = partial(torch.autocast, "cpu", torch.bfloat16, enabled=low)
    outputs = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        g, d = networks(**kinds)
        images, latents, labels = batch(4, **kinds)
        with in_precision():
            fake = g(latents, labels)
            logits = d(fake, labels) - d(images, labels)
        outputs.append((fake, logits))
        assert fake.shape == images.shape and fake.abs().max() <= 1 and fake.std() > 0
        assert logits.shape == (4,) and logits.std() > 0
    (fake, logits), again, other = outputs
    assert torch.equal(fake, again[0]) and torch.equal(logits, again[1])
    assert not torch.equal(fake, other[0]) and not torch.equal(logits, other[1])
    logits.float().square().sum().backward()
    for network in (g, d):
        for name, parameter in network.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("size", resnet.PLANS)
def test_a_loss_reaches_every_weight(size):
    seed_everything(3)
    g, d = networks(size, classes=3)
    images, latents, labels = batch(4, size, classes=3)
    (d(g(latents, labels), labels) - d(images, labels)).square().sum().backward()
    for network in (g, d):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            if parameter.dim() > 1:  # a bias before a batch norm does nothing
                rows = parameter.grad.flatten(1).abs().amax(1)
                assert rows.all() if parameter.dim() == 2 else rows.any(), name  # every class's, for one


# --- the papers' blocks, written out


def conv(layer, x):
    return F.conv2d(x, layer.weight, layer.bias, padding=1)


def up(block, x, labels):
    def norm(layer, x):
        gain, bias = (layer.weight[labels], layer.bias[labels]) if layer.weight.dim() == 2 else layer.parameters()
        plain = F.batch_norm(x, None, None, training=True, eps=2e-5)
        return plain * gain[..., None, None] + bias[..., None, None]

    def larger(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    h = conv(block.conv1, larger(norm(block.norm1, x).relu()))
    return conv(block.conv2, norm(block.norm2, h).relu()) + block.shortcut(larger(x))


def down(block, x, first, halve):
    h = conv(block.conv2, conv(block.conv1, x if first else x.relu()).relu())
    if first:
        return F.avg_pool2d(h, 2) + block.shortcut(F.avg_pool2d(x, 2))
    return F.avg_pool2d(h, 2) + F.avg_pool2d(block.shortcut(x), 2) if halve else h + block.shortcut(x)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("size", [32, 48, 64])
def test_networks_are_the_papers_blocks(size, classes):
    seed_everything(3)
    g, d = (network.double() for network in networks(size, classes=classes))
    for network in (g, d):  # biases and gains at which an order of operations could show
        for parameter in network.parameters():
            nn.init.normal_(parameter, 0.0, 0.3) if parameter.dim() < 3 else None
    images, latents, labels = batch(4, size, classes=classes, dtype=torch.float64)
    start = 6 if size == 48 else 4
    x = g.linear(latents).view(4, start, start, -1).permute(0, 3, 1, 2)
    for block in g.blocks:
        x = up(block, x, labels)
    x = F.batch_norm(x, None, None, g.norm.weight, g.norm.bias, training=True, eps=2e-5)
    torch.testing.assert_close(g(latents, labels), g.output(x.relu()).tanh(), rtol=0, atol=1e-12)
    x, halvings = images, {32: 2, 48: 4, 64: 5}[size]
    for number, block in enumerate(d.blocks):
        x = down(block, x, number == 0, number < halvings)
    features = x.relu().sum((2, 3))
    logits = features @ d.linear.weight[0] + (d.linear.bias if size > 32 else 0)
    if classes:
        logits = logits + torch.einsum("nc,nc->n", d.embedding.weight[labels], features)
    torch.testing.assert_close(d(images, labels), logits, rtol=0, atol=1e-11)


def test_pooling_and_the_last_bias_can_be_chosen():
    images, _, labels = batch(4)
    _, total = networks(spectral_norm=False, output_bias=True)
    _, mean = networks(spectral_norm=False, output_bias=True, pooling="mean")
    mean.load_state_dict(total.state_dict())
    bias = torch.tensor([0.5])
    total.linear.bias.data, mean.linear.bias.data = bias, bias
    torch.testing.assert_close(total(images, labels) - 0.5, 4 * 4 * (mean(images, labels) - 0.5))


def test_every_weight_of_the_discriminator_is_spectrally_normed_and_none_of_the_generator():
    seed_everything(0)
    g, d = networks(32, classes=7, width=16)
    assert not any("parametrizations" in name for name, _ in g.named_modules())
    layers = [layer for layer in d.modules() if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) == 3 + 3 + 2 + 2 + 2  # blocks, two of them without a shortcut; linear and embedding
    for layer in layers:
        assert abs(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0] - 1) < 0.05
    assert d.embedding.weight.shape == (7, 16)


@pytest.mark.parametrize("classes", [0, 3])
def test_the_label_changes_what_a_conditional_network_says_and_no_other(classes):
    g, d = networks(classes=classes)
    for block in g.blocks if classes else []:
        nn.init.normal_(block.norm1.weight)
    images, latents, labels = batch(6, classes=classes)
    others = (labels + 1) % 3 if classes else labels + 1
    changed = labels.clone()
    changed[2] = others[2]
    g.eval()  # so that one image does not depend on the others
    differs = (g(latents, changed) != g(latents, labels)).flatten(1).any(1)
    assert differs.tolist() == [classes > 0 and i == 2 for i in range(6)]
    assert (d(images, others) != d(images, labels)).tolist() == [classes > 0] * 6


@pytest.mark.parametrize("kinds", [{"classes": 3}, {"spectral_norm": False, "pooling": "mean"}])
def test_input_gradient_is_that_of_finite_differences(kinds):
    seed_everything(7)
    _, d = networks(channels=1, **kinds)
    d.double()
    images, _, labels = batch(2, channels=1, classes=kinds.get("classes", 0), dtype=torch.float64)
    gradient, logits = input_gradient(lambda x: d(x, labels), images)
    torch.testing.assert_close(logits, d(images, labels), rtol=0, atol=0)
    step = 1e-6
    with torch.no_grad():
        nudges = torch.eye(256, dtype=torch.float64).view(256, 1, 1, 16, 16) * step
        ahead, behind = (torch.stack([d(images + sign * nudge, labels) for nudge in nudges]) for sign in (1, -1))
    expected = ((ahead - behind) / (2 * step)).T.view_as(images)  # no sample sees another
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("make", [resnet.Generator, resnet.Discriminator])
@pytest.mark.parametrize("image", [(18, 18), (8, 8), (32, 18), (100, 64), (256, 256), (256, 512), (0, 0)])
def test_sizes_they_cannot_make_are_refused_and_the_one_they_name_works(make, image):
    with pytest.raises(UserError, match=rf"16, 32, 48, 64, 128 px, not {image[0]}x{image[1]}; .*--size") as caught:
        make(image=ImageSpec(*image, 3))
    named = str(caught.value).split("--size ")[1].strip("`").split("x")
    make(image=ImageSpec(*map(int, named), 3), width=8)


@pytest.mark.parametrize("make", [resnet.Generator, resnet.Discriminator])
def test_a_conditional_network_needs_classes(make):
    with pytest.raises(UserError, match="choose a model without classes"):
        make(image=ImageSpec(16, 16, 3), conditional=True)
