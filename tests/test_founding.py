"""Layers and networks of the founding papers, and what couples samples, by formulas and loops."""

import pytest
import torch
from scipy import stats
from torch import nn

from ganlab.engine.runtime import Runtime
from ganlab.experiment.parts import build, check_value
from ganlab.layers.groups import group_of
from ganlab.layers.maxout import Maxout
from ganlab.layers.minibatch import MinibatchDiscrimination
from ganlab.layers.randomness import Dropout, GaussianNoise
from ganlab.layers.weightnorm import initialize_from, weight_norm
from ganlab.models import GAN, GANModule
from ganlab.networks import maxout, points
from ganlab.networks.packing import Packed
from ganlab.regularizers import input_gradient
from ganlab.schedules import CriticSteps, Exponential
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, UserError

POINT = ImageSpec(1, 1, 2)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def none(n):
    return torch.full((n,), -1)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_minibatch_discrimination_is_a_double_loop_within_each_group():
    layer, x = MinibatchDiscrimination(5, kernels=3, dims=2, group=4), torch.randn(8, 5) * 20
    out = layer(x)
    assert torch.equal(out[:, :5], x) and out.shape == (8, 8)
    for i in range(8):
        for k in range(3):
            m = x @ layer.weight[:, k]
            near = [torch.exp(-(m[i] - m[j]).abs().sum()) for j in range(8) if i // 4 == j // 4]
            assert out[i, 5 + k].item() == pytest.approx(sum(near).item(), rel=1e-12)
    order = torch.cat([torch.randperm(4), 4 + torch.randperm(4)])
    torch.testing.assert_close(layer(x[order]), out[order], rtol=1e-12, atol=0)
    assert torch.autograd.gradgradcheck(lambda x: layer(x).square().sum(1), x.requires_grad_())


def test_maxout_is_the_largest_of_its_pieces():
    layer, x = Maxout(4, 3, pieces=5), torch.randn(6, 4)
    w, b = layer.linear.weight, layer.linear.bias
    expected = [[max((w[5 * u + p] @ row + b[5 * u + p]).item() for p in range(5)) for u in range(3)] for row in x]
    torch.testing.assert_close(layer(x), torch.tensor(expected))


def test_noise_is_handed_in():
    x, noise = torch.randn(200, 500), torch.randn(200, 500)
    kept = Dropout(0.8)(x, noise)
    assert ((kept == 0) | ((kept - x / 0.8).abs() < 1e-12)).all()
    assert (kept != 0).double().mean().item() == pytest.approx(0.8, abs=4 * (0.8 * 0.2 / 1e5) ** 0.5)
    torch.testing.assert_close(GaussianNoise(0.3)(x, noise), x + 0.3 * noise)


@pytest.mark.parametrize(
    "make", [lambda i, o: nn.Linear(i, o), lambda i, o: nn.Conv2d(i, o, 3)], ids=["linear", "conv"]
)
def test_weight_norm_begins_with_outputs_of_unit_variance(make):
    convolution = isinstance(make(1, 1), nn.Conv2d)
    x = 3 * torch.randn((64, 4, 9, 9) if convolution else (256, 4)) + 1
    plain = make(4, 6)
    normed = weight_norm(make(4, 6))
    normed.load_state_dict({"bias": plain.bias, "parametrizations.weight.original": plain.weight}, strict=False)
    normed.parametrizations.weight[0].length.data = (
        plain.weight.detach().flatten(1).norm(dim=1).view(6, 1, *[1] * (plain.weight.ndim - 2))
    )
    torch.testing.assert_close(normed(x), plain(x))
    network = nn.Sequential(normed, nn.Softplus(), weight_norm(make(6, 5)), nn.Tanh())
    initialize_from(network, x)
    first = network[0](x)
    for out in (first, network[2](network[1](first))):
        var, mean = torch.var_mean(out, [0, 2, 3] if convolution else 0, correction=0)
        torch.testing.assert_close((var, mean), (torch.ones_like(var), torch.zeros_like(mean)))
    initialize_from(network, x)  # of what is so already, nothing changes
    torch.testing.assert_close(network[0](x), first)


def test_packs():
    plain = points.Discriminator(image=POINT, width=8)
    torch.manual_seed(0)
    one, two, three = (
        Packed(image=POINT, packing=m, discriminator=lambda image: points.Discriminator(image=image, width=8))
        for m in (1, 2, 3)
    )
    x = torch.randn(12, 2, 1, 1)
    one.discriminator.load_state_dict(plain.state_dict())
    assert torch.equal(one(x, none(12)), plain(x, none(12)))
    grown = [p.numel() - q.numel() for p, q in zip(three.parameters(), two.parameters(), strict=True)]
    assert grown == [2 * 8, 0, 0, 0]  # the first layer alone
    logits = two(x, none(12))
    order = torch.randperm(6)
    torch.testing.assert_close(
        two(x.view(6, 2, 2, 1, 1)[order].flatten(0, 1), none(12)), logits.view(6, 2)[order].flatten()
    )
    by_hand = two.discriminator(torch.cat([x[0], x[1]])[None], none(1))
    torch.testing.assert_close(logits[:2], by_hand.expand(2))
    gradient, _ = input_gradient(two, x, none(12))
    assert gradient.shape == x.shape and gradient.abs().flatten(1).sum(1).gt(0).all()


def game(group, packing, kernels):
    part = {
        "_target_": "ganlab.models.GANModule",
        "generator": {"_target_": "ganlab.networks.points.Generator", "width": 4, "latent": 2},
        "discriminator": {
            "_target_": "ganlab.networks.packing.Packed",
            "packing": packing,
            "discriminator": {
                "_target_": "ganlab.networks.points.Discriminator",
                "width": 4,
                "kernels": kernels,
                "group": 4,
            },
        },
        "objective": {"_target_": "ganlab.objectives.NonSaturating"},
        "optimizers": {at: {"_target_": "torch.optim.Adam"} for at in ("generator", "discriminator")},
    }
    assert list(check_value(part, GANModule, "model", [])) == []
    return build(part, GANModule, image=POINT, runtime=Runtime(group=group))


@pytest.mark.parametrize(("packing", "kernels", "coupled"), [(3, 0, 3), (2, 2, 8)])
def test_a_group_that_is_no_multiple_of_what_is_coupled_is_refused(packing, kernels, coupled):
    with pytest.raises(UserError, match=rf"train\.group: 4 is no multiple of {coupled}, the group that the discrim"):
        game(4, packing, kernels)
    assert group_of(game(coupled, packing, kernels)) == coupled


def test_the_networks_of_2014_have_its_codes_parameters():
    image = ImageSpec(28, 28, 1)
    assert parameters(maxout.Generator(image=image)) == 121_200 + 1_441_200 + 941_584
    assert parameters(maxout.Discriminator(image=image)) == 942_000 + 289_200 + 241


def test_the_latents_of_2014_are_uniform():
    network = maxout.Generator(image=ImageSpec(1, 1, 1), latent=1)
    seen = []
    network.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.randn(5000, 1), none(5000))
    uniform = stats.uniform(-(3**0.5), 2 * 3**0.5)
    assert stats.kstest(seen[0][:, 0].numpy(), uniform.cdf).pvalue > 1e-4


def test_both_losses_of_2014_see_the_same():
    torch.set_default_dtype(torch.float32)
    model = GAN(image=ImageSpec(4, 4, 1), generator_width=4, discriminator_width=4)
    noise = Noise(0, 0, 0, 4)
    first, second = (model.draw(player, 8, noise, none(8)) for player in ("discriminator", "generator"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["real noise"], first["fake noise"])


def test_schedules():
    steps = CriticSteps()
    assert sum(map(steps, range(30))) == 2525 and sum(map(steps, range(501))) == 4975
    lr = Exponential(start=0.1, factor=1 / 1.000004, every_nimg=100, least=1e-6)
    assert lr(0) == 0.1 and lr(5_000_000) == pytest.approx(0.1 * 1.000004**-50_000) and lr(10**10) == 1e-6
