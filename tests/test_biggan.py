"""SAGAN, BigGAN and BigGAN-deep: published counts, initial weights, blocks written out, truncation, refusals.

Their games by hand: launched/papers/biggan.py.
"""

import math

import pytest
import torch
from repository import REPOSITORY
from scipy import stats
from torch import nn
from torch.nn import functional as F

from ganlab.engine.runtime import Runtime
from ganlab.engine.samples import within
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.layers.attention import SelfAttention
from ganlab.layers.batchnorm import AdaptiveBatchNorm, ConditionalBatchNorm, Standardization
from ganlab.layers.spectral import as_matrix
from ganlab.models import SAGAN, BigGAN, BigGANDeep, InfoGAN, ProgressiveGAN
from ganlab.networks import biggan, biggan_deep
from ganlab.regularizers import Orthogonal, Point, input_gradient
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGE = ImageSpec(16, 16, 1, 3)
SMALL = {"generator_width": 2, "discriminator_width": 2}


@pytest.fixture(autouse=True)
def _seeded():
    seed_everything(1)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("networks", "size", "changes", "generator", "discriminator"),
    [
        (biggan, 64, {}, 70_083_972, 45_500_449),
        (biggan, 128, {"width": 64}, 31_978_628, 39_448_258),
        (biggan, 512, {}, 82_468_068, 99_401_282),
        (biggan_deep, 64, {}, 49_583_876, 20_869_633),
        (biggan_deep, 256, {}, 55_736_708, 38_247_426),
    ],
)
def test_networks_have_the_published_number_of_parameters(networks, size, changes, generator, discriminator):
    image = ImageSpec(size, size, 3, 1000)
    with torch.device("meta"):
        found = [count(make(image=image, **changes)) for make in (networks.Generator, networks.Discriminator)]
    assert found == [generator, discriminator]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "generator", "discriminator"),
    [
        ("imagenet128/sagan.yaml", 42_017_412, 39_448_258),
        ("imagenet128/biggan.yaml", 70_433_988, 87_982_370),
        ("imagenet128/biggan_deep.yaml", 50_244_484, 34_590_210),
        ("imagenet256/biggan.yaml", 82_235_844, 99_225_890),
        ("cifar10/biggan.yaml", 4_304_387, 4_207_361),
    ],
)
def test_shipped_configs_have_the_published_number_of_parameters(path, generator, discriminator):
    with torch.device("meta"):
        model = build_model(load(REPOSITORY / "configs" / path))
    assert (count(model.generator), count(model.discriminator)) == (generator, discriminator)


def original(layer):
    return layer.parametrizations.weight.original if hasattr(layer, "parametrizations") else layer.weight


@pytest.mark.parametrize("kind", ["orthogonal", "normal", "glorot"])
def test_initial_weights_are_those_of_the_table(kind):
    embedding = 16 if kind == "orthogonal" else None
    kinds = {"image": ImageSpec(16, 16, 3, 5), "width": 8, "attention": 8, "initial_weights": kind}
    g, d = biggan.Generator(embedding=embedding, **kinds), biggan.Discriminator(**kinds)
    assert g.attention.gamma.item() == 0 and d.blocks[0][1].gamma.item() == 0
    for layer in [*g.modules(), *d.modules()]:
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            weight = original(layer).detach().double()
            rows = weight.flatten(1)
            if kind == "orthogonal":
                small = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
                assert torch.allclose(small, torch.eye(len(small), dtype=torch.float64), atol=1e-5)
            elif len(rows.flatten()) > 500:
                fan = (weight.shape[0] + weight.shape[1]) * weight[0, 0].numel()
                variance = 0.02**2 if kind == "normal" else 2 / fan
                assert rows.square().mean() == pytest.approx(variance, rel=0.25)
            if layer is not g.shared:
                assert torch.linalg.matrix_norm(as_matrix(layer.weight.detach()), 2) == pytest.approx(1, abs=0.02)
            if (bias := getattr(layer, "bias", None)) is not None:
                bound = 0.0 if kind == "glorot" else rows.shape[1] ** -0.5
                assert bias.abs().max() <= bound and (not bound or bias.abs().max() > 0)
        if isinstance(layer, ConditionalBatchNorm):
            spread = 0.02 if kind == "normal" else 0.0
            for table, mean in ((layer.weight, 1.0), (layer.bias, 0.0)):
                assert table.mean().item() == pytest.approx(mean, abs=spread / 3)
                assert table.std().item() == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize("networks", [biggan, biggan_deep])
@pytest.mark.parametrize(("size", "attention"), [((16, 16), 8), ((32, 48), 32)])
def test_every_parameter_takes_part(networks, size, attention):
    kinds = {"image": ImageSpec(*size, 3, 4), "width": 4, "attention": attention}
    g, d = networks.Generator(**kinds), networks.Discriminator(**kinds)
    for layer in [*g.modules(), *d.modules()]:
        if isinstance(layer, SelfAttention):
            nn.init.ones_(layer.gamma)
    labels = torch.arange(4)
    images = g(torch.randn(4, g.latent), labels)
    logits = d(images, labels)
    assert images.shape == (4, 3, *size) and images.abs().max() <= 1 and logits.shape == (4,) and logits.std() > 0
    logits.square().sum().backward()
    attending = [sum(isinstance(layer, SelfAttention) for layer in network.modules()) for network in (g, d)]
    assert attending == [1, attention < min(size)]  # the discriminator's first map is half as large as the image
    for network in (g, d):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_attention_is_nothing_at_gamma_0_and_a_mean_of_values_at_1():
    layer, images = SelfAttention(16).double(), torch.randn(2, 16, 4, 6, dtype=torch.float64)
    assert torch.equal(layer(images), images)
    nn.init.ones_(layer.gamma)
    attended = layer(images) - images
    queries, keys, values = [F.conv2d(images, part.weight) for part in (layer.query, layer.key, layer.value)]
    places = [(a, b) for a in range(2) for b in range(3)]
    for n, i, j in ((0, 0, 0), (1, 3, 5), (0, 2, 4)):
        scores, found = [], []
        for a, b in places:  # of the map that is pooled to half its size
            square = slice(2 * a, 2 * a + 2), slice(2 * b, 2 * b + 2)
            scores.append((queries[n, :, i, j] @ keys[n][:, *square].amax((1, 2))).exp())
            found.append(values[n][:, *square].amax((1, 2)))
        mean = sum(s * v for s, v in zip(scores, found, strict=True)) / sum(scores)
        assert torch.allclose(attended[n, :, i, j], layer.output.weight[:, :, 0, 0] @ mean, atol=1e-12)
    constant = layer(torch.ones_like(images)) - 1
    assert (constant - constant[:, :, :1, :1]).abs().max() < 1e-12
    assert [tuple(p.shape[:2]) for p in layer.parameters() if p.ndim] == [(2, 16), (2, 16), (8, 16), (16, 8)]


def test_a_penalty_differentiates_the_discriminator_twice():
    d = biggan.Discriminator(image=IMAGE, width=2, attention=8).double()
    nn.init.ones_(d.blocks[0][1].gamma)
    images, labels = torch.randn(2, 1, 16, 16, dtype=torch.float64), torch.tensor([0, 2])

    def penalty():
        gradient, _ = input_gradient(lambda x: d(x, labels), images)
        return gradient.square().sum()

    key = d.blocks[0][1].key.parametrizations.weight.original
    (found,) = torch.autograd.grad(penalty(), key)
    # By finite differences of the weight itself, with sigma frozen as it is in the backward pass.
    step, direction = 1e-6, torch.randn_like(key)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            key.add_(sign * step * direction)
        values.append(penalty().item())
        with torch.no_grad():
            key.sub_(sign * step * direction)
    assert (found * direction).sum().item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def maps_of(generator, latents, labels):
    """What each block gets and makes."""
    found, hooks = [], []
    for block in generator.blocks:
        hooks.append(block.register_forward_hook(lambda _, inputs, output: found.append((inputs[0], output))))
    with torch.no_grad():
        generator.eval()(latents, labels)
    for hook in hooks:
        hook.remove()
    return found


def test_a_part_of_the_latent_changes_only_what_comes_after_its_block():
    g = biggan.Generator(image=ImageSpec(32, 32, 3, 3), width=4, attention=16, embedding=8)
    assert (g.latent, g.linear.in_features) == (80, 20)
    latents, labels = torch.randn(2, 80), torch.tensor([1, 2])
    before = maps_of(g, latents, labels)
    for block in range(3):
        changed = latents.clone()
        changed[:, 20 * (block + 1) : 20 * (block + 2)] += 1
        after = maps_of(g, changed, labels)
        for number in range(3):
            same = [torch.equal(a, b) for a, b in zip(before[number], after[number], strict=True)]
            assert same == [number <= block, number < block]


def test_blocks_of_biggan_deep_drop_and_append_channels():
    up, x, c = biggan_deep.UpBlock(8, 4, 5, True, None).eval(), torch.randn(2, 8, 3, 3), torch.randn(2, 5)
    down, y = biggan_deep.DownBlock(4, 8, True), torch.randn(2, 4, 6, 6)

    def norm(layer, h):
        gain, bias = 1 + c @ layer.gain.weight.T, c @ layer.bias.weight.T
        return (h / (1 + 1e-5) ** 0.5 * gain[..., None, None] + bias[..., None, None]).relu()

    def conv(layer, h):
        return F.conv2d(h, layer.weight, layer.bias, padding=layer.weight.shape[2] // 2)

    h = norm(up.norm2, conv(up.conv1, norm(up.norm1, x)))
    h = conv(up.conv2, h.repeat_interleave(2, 2).repeat_interleave(2, 3))
    h = conv(up.conv4, norm(up.norm4, conv(up.conv3, norm(up.norm3, h))))
    assert torch.allclose(up(x, c), h + x[:, :4].repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-5)
    assert up.conv1.weight.shape[0] == down.conv1.weight.shape[0] == 2
    h = conv(down.conv3, conv(down.conv2, conv(down.conv1, y.relu()).relu()).relu()).relu()
    mean = y.unflatten(3, (3, 2)).unflatten(2, (3, 2)).mean((3, 5))
    h = conv(down.conv4, h.unflatten(3, (3, 2)).unflatten(2, (3, 2)).mean((3, 5)))
    assert torch.allclose(down(y), h + torch.cat([mean, conv(down.shortcut, mean)], 1), atol=1e-5)


def test_the_orthogonal_gradient_is_the_formula_s_and_twice_the_original_code_s():
    weight = torch.randn(6, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    penalty = Orthogonal(weight=1e-4).penalty(Point((weight,), weight, None, torch.nn.Identity(), "weights"))
    (ours,) = torch.autograd.grad(1e-4 / 2 * penalty.sum(), weight)
    rows = weight.detach().flatten(1)
    theirs = 1e-4 * 2 * (rows @ rows.T * (1 - torch.eye(6))) @ rows
    assert torch.allclose(ours.flatten(1), theirs, atol=1e-14, rtol=1e-10)
    model = BigGAN(image=IMAGE, **SMALL)
    moved = model.weights("generator")
    assert len(moved) == len(list(model.generator.parameters())) - 1
    assert all(weight is not model.generator.shared.weight for weight in moved)
    assert "orthogonal" not in BigGAN(image=IMAGE, orthogonal=0.0, **SMALL).players["generator"].regularizers


@pytest.mark.parametrize("bound", [0.04, 0.5, 2.0])
def test_truncated_latents_are_normal_numbers_within_the_bound(bound):
    z, u = torch.randn(200, 100, dtype=torch.float64), torch.rand(200, 100, dtype=torch.float64)
    cut = within(z, bound, u)
    assert cut.abs().max() <= bound and torch.equal(cut[z.abs() <= bound], z[z.abs() <= bound])
    assert stats.kstest(cut.flatten().numpy(), stats.truncnorm(-bound, bound).cdf).pvalue > 0.01
    assert torch.equal(within(z, 9.0, u), z)


@pytest.mark.parametrize("group", [None, 16])
def test_standing_statistics_are_the_averages_of_batches_of_samples(group):
    model = BigGAN(image=IMAGE, batch_norm_group=group, runtime=Runtime(group=16), **SMALL).eval()
    state = {name: value.clone() for name, value in model.ema.state_dict().items()}
    seen, first = [], model.ema.blocks[1].norm2
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].double()))
    model.stand(3, 0.5)
    mean = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    groups = [part for x in seen for part in x.split(group or 64)]
    var = torch.stack([part.var((0, 2, 3)) for part in groups]).mean(0)
    assert torch.allclose(first.running_mean.double(), mean, atol=1e-6)
    assert torch.allclose(first.running_var.double(), var, atol=1e-6)
    changed = {name for name, value in model.ema.state_dict().items() if not torch.equal(value, state[name])}
    assert changed == {name for name in state if "running" in name}
    norms = [layer for layer in model.ema.modules() if isinstance(layer, Standardization)]
    assert all((norm.group, norm.momentum, norm.training) == (group, 0.1, False) for norm in norms)
    narrow = model.ema.blocks[1].norm2.running_mean.clone()
    model.stand(3, 2.0)
    assert not torch.allclose(narrow, first.running_mean)
    with pytest.raises(UserError, match="standing: ProgressiveGAN has no batch norm"):
        ProgressiveGAN(image=IMAGE, width_max=4, latent=4).stand(3)


def test_truncation_changes_the_samples_whose_latents_it_cuts():
    model = BigGAN(image=IMAGE, **SMALL).eval()
    model.stand(2)
    whole = model.sample(64)
    assert torch.equal(model.sample(64, truncation=9.0), whole)
    assert not torch.equal(model.sample(64, truncation=0.5), whole)
    assert torch.equal(model.sample([40], truncation=0.5)[0], model.sample(64, truncation=0.5)[40])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BigGAN(image=ImageSpec(24, 18, 1, 3)), r"16, 32, 64, 128, 256, 512 px, not 24x18; .*--size 24x16"),
        (lambda: BigGAN(image=ImageSpec(16, 16, 1)), "data.url: its images have no classes"),
        (lambda: SAGAN(image=ImageSpec(16, 16, 1)), "data.url: its images have no classes"),
        (lambda: BigGAN(image=IMAGE, latent=128), "model.latent: 128: .* a multiple of 3, such as 60"),
        (lambda: BigGAN(image=IMAGE, batch_norm_group=8, **SMALL), "train.group: 4 is no multiple of 8"),
        (lambda: BigGANDeep(image=IMAGE, embedding=None), "model.embedding: null, .* write 128"),
        (lambda: BigGAN(image=IMAGE, **SMALL).sample(1, truncation=0.0), "truncation: 0.0: write a number above 0"),
        (lambda: BigGAN(image=IMAGE, **SMALL).sample(1, truncation=math.nan), "truncation: nan: write a number above"),
        (
            lambda: ProgressiveGAN(image=IMAGE, width_max=4, latent=4).sample(1, truncation=0.5),
            "a ProgressiveGAN brings every latent to one length.* would do nothing; leave it out",
        ),
        (
            lambda: InfoGAN(image=IMAGE).sample(1, truncation=0.5),
            "the latents of InfoGAN are not all standard normal numbers.*; leave it out",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_adaptive_batch_norm_scales_by_one_plus_a_linear_function():
    layer, images, condition = AdaptiveBatchNorm(3, 2).double(), torch.randn(4, 3, 2, 2).double(), torch.randn(4, 2)
    condition = condition.double()
    mean, var = images.mean((0, 2, 3), keepdim=True), images.var((0, 2, 3), False, keepdim=True)
    gain, bias = (condition @ part.weight.T for part in (layer.gain, layer.bias))
    expected = (images - mean) / (var + 1e-5).sqrt() * (1 + gain)[..., None, None] + bias[..., None, None]
    assert torch.allclose(layer(images, condition), expected, atol=1e-12)
