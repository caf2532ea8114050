import json

import jobs
import pytest
import torch
from torch import nn

from ganlab.layers.batchnorm import BatchNorm, ConditionalBatchNorm
from ganlab.networks import dcgan, resnet
from ganlab.regularizers import input_gradient
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def networks(size=16, channels=3, classes=0, width=4, latent=6):
    image = ImageSpec(size, size, channels, classes)
    return (
        dcgan.Generator(image=image, width=width, latent=latent, conditional=classes > 0),
        dcgan.Discriminator(image=image, width=width, conditional=classes > 0),
    )


def batch(n, size=16, channels=3, classes=0, latent=6, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(n, channels, size, size, generator=draw, dtype=dtype) * 2 - 1
    latents = torch.randn(n, latent, generator=draw, dtype=dtype)
    return images, latents, torch.arange(n) % classes if classes else torch.full((n,), -1)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("width", "generator", "discriminator"),
    [
        (64, 3_576_704, 2_765_568),  # PyTorch's example
        (  # the paper's figure 1: 1024, 512, 256 and 128 channels
            128,
            16 * (100 * 1024 + 1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 2 * (1024 + 512 + 256 + 128),
            16 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024 + 1024) + 2 * (256 + 512 + 1024),
        ),
    ],
)
def test_64_px_networks_have_the_published_number_of_parameters(width, generator, discriminator):
    g, d = networks(64, width=width, latent=100)
    assert (parameters(g), parameters(d)) == (generator, discriminator)


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [0, 1, 7])
def test_every_shape_of_network_runs(size, channels, classes):
    kinds = {"size": size, "channels": channels, "classes": classes}
    seed_everything(3)
    g, d = networks(**kinds)
    images, latents, labels = batch(7, **kinds)
    fake = g(latents, labels)
    assert fake.shape == (7, channels, size, size) and fake.abs().max() <= 1 and fake.std() > 0
    logits = d(fake, labels) - d(images, labels)
    assert logits.shape == (7,) and logits.std() > 0
    logits.square().sum().backward()
    for network in (g, d):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.flatten(1 if parameter.dim() > 1 else 0).abs().amax(-1).gt(0).any(), name
    if classes:  # the filter of every class is reached
        assert d.layers[-2].weight.grad.flatten(1).abs().amax(1).gt(0).all()
    seed_everything(3)
    again_g, again_d = networks(**kinds)
    assert torch.equal(again_g(latents, labels), fake)
    assert torch.equal(again_d(fake, labels) - again_d(images, labels), logits)
    seed_everything(4)
    other_g, other_d = networks(**kinds)
    assert not torch.equal(other_g(latents, labels), fake) and not torch.equal(other_d(fake, labels), d(fake, labels))


@pytest.mark.parametrize("make", [dcgan.Generator, dcgan.Discriminator])
@pytest.mark.parametrize("image", [(18, 18), (8, 8), (32, 18), (8, 64), (0, 0), (100, 72)])
def test_sizes_it_cannot_make_are_refused_and_the_one_it_names_works(make, image):
    with pytest.raises(UserError, match=rf"16, 32, 64, \.\.\. px, .* not {image[0]}x{image[1]}; .*--size") as caught:
        make(image=ImageSpec(*image, 3))
    named = str(caught.value).split("--size ")[1].strip("`").split("x")
    make(image=ImageSpec(*map(int, named), 3), width=1)


@pytest.mark.parametrize(
    ("networks", "image", "first"),
    [
        (dcgan, (32, 16), (8, 4)),
        (dcgan, (16, 40), (4, 10)),
        (dcgan, (48, 48), (6, 6)),
        (resnet, (16, 32), (4, 8)),
        (resnet, (48, 32), (6, 4)),
        (resnet, (32, 96), (4, 12)),
    ],
)
def test_images_that_are_not_square_grow_from_a_map_of_their_shape(networks, image, first):
    spec = ImageSpec(*image, 3, 2)
    width = 2 if networks is dcgan else 8
    g = networks.Generator(image=spec, width=width, latent=5, conditional=True)
    d = networks.Discriminator(image=spec, width=width, conditional=True)
    maps = []
    for module in g.modules():
        if isinstance(module, BatchNorm | ConditionalBatchNorm):
            module.register_forward_pre_hook(lambda _, inputs: maps.append(tuple(inputs[0].shape[2:])))
    images = g(torch.randn(4, 5), torch.tensor([0, 1, 0, 1]))
    assert images.shape == (4, 3, *image) and images.std() > 0 and maps[0] == first
    logits = d(images, torch.tensor([0, 1, 0, 1]))
    logits.square().sum().backward()
    assert logits.shape == (4,) and logits.std() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in g.parameters())


@pytest.mark.parametrize("make", [dcgan.Generator, dcgan.Discriminator])
def test_a_conditional_network_needs_classes(make):
    with pytest.raises(UserError, match=r"model\.conditional=false"):
        make(image=ImageSpec(16, 16, 3), conditional=True)


def test_initial_weights_are_those_of_the_table():
    seed_everything(5)
    table = {nn.Conv2d: (0.0, 0.02), nn.ConvTranspose2d: (0.0, 0.02), BatchNorm: (1.0, 0.02)}
    seen = set()
    for network in networks(64, width=32, latent=100, classes=5):
        for layer in network.modules():
            if type(layer) not in table:
                assert not list(layer.parameters(recurse=False))
                continue
            seen.add(type(layer))
            mean, std = table[type(layer)]
            weight, n = layer.weight.detach().double(), layer.weight.numel()
            assert abs(weight.mean() - mean) < 4.5 * std / n**0.5
            assert abs(weight.std() / std - 1) < 4.5 / (2 * (n - 1)) ** 0.5
            assert (layer.bias == 0).all() if isinstance(layer, BatchNorm) else layer.bias is None
    assert seen == set(table)


def test_the_label_changes_what_a_conditional_network_says_and_no_other():
    for classes in (0, 3):
        g, d = networks(classes=classes)
        g.eval()  # so that one image does not depend on the others
        images, latents, labels = batch(6, classes=classes)
        others = (labels + 1) % 3 if classes else labels + 1
        changed = labels.clone()
        changed[2] = others[2]
        differs = (g(latents, changed) != g(latents, labels)).flatten(1).any(1)
        assert differs.tolist() == [classes > 0 and i == 2 for i in range(6)]
        assert (d(images, others) != d(images, labels)).tolist() == [classes > 0] * 6


def test_a_class_has_a_filter_of_its_own_beside_the_common_one():
    """A projection: D(x, y) = (common + filter y) . features(x)."""
    _, d = networks(classes=3)
    d.double()
    images, _, labels = batch(6, classes=3, dtype=torch.float64)
    features = d.layers[:-2](images)
    filters = d.layers[-2].weight
    expected = torch.stack([(f * (filters[0] + filters[1 + y])).sum() for f, y in zip(features, labels, strict=True)])
    torch.testing.assert_close(d(images, labels), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("classes", [0, 3])
def test_input_gradient_is_that_of_finite_differences(classes):
    """Of every pixel; batch norm couples the images, so the sum of all logits is what is differentiated."""
    seed_everything(7)
    _, d = networks(channels=1, classes=classes)
    d.double()
    images, _, labels = batch(3, channels=1, classes=classes, dtype=torch.float64)
    gradient, logits = input_gradient(lambda x: d(x, labels), images)
    torch.testing.assert_close(logits, d(images, labels), rtol=0, atol=0)
    step = 1e-6
    with torch.no_grad():
        nudges = torch.eye(images.numel(), dtype=torch.float64).view(-1, *images.shape) * step
        expected = torch.stack([(d(images + e, labels) - d(images - e, labels)).sum() for e in nudges]) / (2 * step)
    torch.testing.assert_close(gradient, expected.view_as(images), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_whole_compiled_losses_are_eager_ones_and_agree_with_finite_differences():
    """In a process without jaxtyping's import hook: it and `fullgraph=True` exclude each other."""
    cases = json.loads(jobs.launch("compiled_losses.py").splitlines()[-1])
    assert len(cases) == 5
    for case, errors in cases.items():
        assert errors["penalty_gradient"] > 1e-4, case  # the penalty is there to be differentiated
        assert errors["eager_against_differences"] < 1e-6, case
        assert errors["compiled_against_differences"] < 1e-6, case
        assert errors["compiled_against_eager"] < 1e-10, case
