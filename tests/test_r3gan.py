"""R3GAN: published sizes, the block's formula, initial statistics, its precision, and what it refuses."""

import math
from functools import partial
from typing import ClassVar

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ganlab.augment import ADA
from ganlab.engine.runtime import Runtime
from ganlab.models import R3GAN
from ganlab.networks import r3gan
from ganlab.objectives import RelativisticPaired
from ganlab.regularizers import FiniteDifferenceR1, FiniteDifferenceR2, Point, input_gradient
from ganlab.schedules import Cosine, OverWidth
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ImageSpec(16, 16, 3, 3)


def model(image=SMALL, other=SMALL, **changes):
    runtime = Runtime(other=other, **{at: changes.pop(at) for at in ("precision",) if at in changes})
    return R3GAN(
        image=image,
        runtime=runtime,
        **({"width": 16, "group_width": 8, "conditional": True, "augment": None} | changes),
    )


@pytest.mark.parametrize(
    ("size", "classes", "changes", "generator", "discriminator"),
    [
        (32, 10, {}, 20_781_952, 21_280_512),
        (32, 0, {}, 20_732_160, 20_683_776),
        (64, 0, {}, 22_429_824, 22_381_440),
        (256, 0, {"full_stages": 3}, 23_057_952, 23_009_568),
        (32, 1000, {"width": 1536, "group_width": 32}, 82_914_304, 86_548_992),
        (64, 1000, {"width": 1536, "group_width": 32, "widest": 64}, 103_570_432, 107_205_120),
    ],
)
def test_the_networks_have_the_published_numbers_of_parameters(size, classes, changes, generator, discriminator):
    with torch.device("meta"):
        found = [
            sum(
                p.numel()
                for p in network(
                    image=ImageSpec(size, size, 3, classes), conditional=classes > 0, **changes
                ).parameters()
            )
            for network in (r3gan.Generator, r3gan.Discriminator)
        ]
    assert found == [generator, discriminator]


def test_a_block_begins_as_the_identity_and_then_follows_its_formula():
    seed_everything(0)
    network = r3gan.Discriminator(image=SMALL, width=6, group_width=4).double()
    block = network.blocks[0][0]
    w1, b1, w2, b2, w3 = block.parameters()
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    assert torch.equal(block(x), x) and not (b1.any() or b2.any())
    with torch.no_grad():
        for weight in (b1, b2, w3):
            weight.normal_()

    def activated(features, bias):
        features = features + bias[:, None, None]
        return torch.where(features > 0, features, 0.2 * features)

    hidden = F.pad(activated(torch.einsum("oi,nihw->nohw", w1[..., 0, 0], x), b1), (1, 1, 1, 1))
    rows = []
    for channel in range(12):
        group = hidden[:, channel // 4 * 4 :][:, :4]  # three groups of four channels
        rows.append(
            sum(
                (group[:, :, i : i + 5, j : j + 5] * w2[channel, :, i, j, None, None]).sum(1)
                for i in range(3)
                for j in range(3)
            )
        )
    expected = x + torch.einsum("oi,nihw->nohw", w3[..., 0, 0], activated(torch.stack(rows, 1), b2))
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


def test_initial_weights_have_the_scale_of_their_table():
    seed_everything(0)
    g, d = (
        kind(image=ImageSpec(32, 32, 3, 10), width=128, conditional=True)
        for kind in (r3gan.Generator, r3gan.Discriminator)
    )
    gain = math.sqrt(2 / 1.04) * 8**-0.25
    assert gain == pytest.approx(0.8246, abs=5e-5)
    for network in (g, d):
        for block in (block for block in network.modules() if isinstance(block, r3gan.Residual)):
            first, _, second, _, last = block.layers
            assert first.weight.std().item() == pytest.approx(gain / math.sqrt(128), rel=0.03)
            assert second.weight.std().item() == pytest.approx(gain / math.sqrt(16 * 9), rel=0.03)
            assert not last.weight.any()
    pool, _, linear = d.output
    for weight, std in [
        (g.linear.weight, 1 / math.sqrt(128)),
        (g.basis, 1.0),
        (g.embedding.weight, 1 / math.sqrt(10)),
        (pool.weight, 1 / 4),
        (linear.weight, 1 / math.sqrt(128)),
        (d.embedding.weight, 1 / math.sqrt(10 * 128)),
    ]:
        assert weight.std().item() == pytest.approx(std, rel=0.1)


def test_images_and_logits_begin_at_the_scale_that_the_filters_leave():
    """All blocks are the identity; the published networks, of one seed, begin with .486 and .055."""
    up = torch.eye(4, dtype=torch.float64)  # of one side: three quarters of the nearer pixel, a quarter of the other
    for size in (8, 16, 32):
        padded = F.pad(up, (0, 0, 1, 1))
        up = torch.stack([0.75 * padded[1 + i // 2] + 0.25 * padded[i // 2 + 2 * (i % 2)] for i in range(size)])
    down = up.T / 2**3
    image_std, logit_std = (filters.square().sum(1).mean().item() for filters in (up, down))  # of both sides
    assert (image_std, logit_std) == pytest.approx((0.486, 0.055), rel=0.2)
    images, logits = [], []
    for seed in range(4):
        seed_everything(seed)
        kinds = {"image": ImageSpec(32, 32, 3), "width": 64}
        g, d, none = r3gan.Generator(**kinds), r3gan.Discriminator(**kinds), torch.full((64,), -1)
        with torch.no_grad():
            images.append(g(torch.randn(64, 64), none).square().mean())
            logits.append(d(torch.randn(64, 3, 32, 32), none).square().mean())
    assert torch.stack(images).mean().sqrt().item() == pytest.approx(image_std, rel=0.15)
    assert torch.stack(logits).mean().sqrt().item() == pytest.approx(logit_std, rel=0.15)


@pytest.mark.parametrize(("nimg", "share"), [(0, 0.0), (10, 0.5), (20, 1.0), (40, 1.0), (5, (1 - math.sqrt(0.5)) / 2)])
def test_schedules_are_half_a_cosine_and_then_constant(nimg, share):
    assert Cosine(start=0.9, end=0.99, until_nimg=20)(nimg) == pytest.approx(0.9 + share * 0.09, abs=1e-15)


def test_a_run_begins_and_ends_with_the_papers_values():
    game = model()
    game.configure_optimizers()
    for nimg, lr, beta2, gamma, half_life in [
        (0, 2e-4, 0.9, 0.05, 0.0),
        (10_000_000, 1.25e-4, 0.945, 0.0275, 2.5e6),
        (20_000_000, 5e-5, 0.99, 0.005, 5e6),
        (40_000_000, 5e-5, 0.99, 0.005, 5e6),
    ]:
        for seat in game.seats.values():
            seat.begin(nimg)
            group = seat.optimizer.param_groups[0]
            assert (group["lr"], *group["betas"]) == pytest.approx((lr, 0.0, beta2), rel=1e-12)
            assert group["eps"] == 1e-8
        weights = [penalty.weight(nimg) for penalty in game.players["discriminator"].regularizers.values()]
        assert weights == pytest.approx([gamma, gamma], rel=1e-12)
        kept = game.averages["generator"].kept(512, nimg)
        assert kept == pytest.approx(0.5 ** (512 / half_life) if half_life else 0.0, rel=1e-12)


def test_equal_logits_cost_log_2_and_both_penalties_of_a_linear_discriminator_are_equal():
    game = model()
    game.slope = None  # the linear discriminator's gradients are autograd's
    batch = {"real": torch.zeros(4, 3, 16, 16), "labels": torch.arange(4) % 3}
    batch |= {"other": batch["real"], "other_labels": (batch["labels"] + 1) % 3}
    game.configure_optimizers()
    for player, labels in (("discriminator", batch["labels"]), ("generator", batch["other_labels"])):
        game.discriminator, flat = Linear(torch.zeros(3, 16, 16)), torch.full((4,), math.log(2))
        terms, _ = game.loss[player](game.batch(player, batch))
        torch.testing.assert_close(terms["loss"], flat)
        assert all(torch.equal(seen, labels) for seen in game.discriminator.seen) and len(game.discriminator.seen) == 2
    weight = torch.randn(3, 16, 16)
    game.discriminator = Linear(weight)
    terms, _ = game.loss["discriminator"](game.batch("discriminator", batch))
    expected = 0.05 / 2 * weight.square().sum()
    torch.testing.assert_close(terms["r1"], expected.expand(4))
    torch.testing.assert_close(terms["r2"], expected.expand(4))


class Linear(torch.nn.Module):
    """A linear discriminator, which notes the labels that it sees."""

    def __init__(self, weight):
        super().__init__()
        self.weight, self.seen = weight, []

    def forward(self, images, labels):
        self.seen.append(labels)
        return (images * self.weight).sum((1, 2, 3))


@pytest.mark.parametrize("conditional", [True, False])
def test_its_own_input_gradient_is_the_one_of_autograd_and_so_are_its_derivatives(conditional):
    seed_everything(0)
    d = r3gan.Discriminator(image=SMALL, width=16, widest=8, group_width=8, conditional=conditional).double()
    for weight in d.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.3)
    images, labels = torch.randn(4, 3, 16, 16, dtype=torch.float64), torch.arange(4) % 3
    found = []
    for way in (d.with_gradient, partial(input_gradient, d)):
        gradient, logits = way(images, labels)
        loss = gradient.square().sum() * 1e-3 + logits.square().sum()
        found.append([gradient, logits, *torch.autograd.grad(loss, list(d.parameters()))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_penalties_are_on_the_images_before_augmentation():
    games = []
    for own in (True, False):
        seed_everything(0)
        game = model(precision="fp64", augment=ADA(p=0.9, cutout=1.0))
        if not own:
            game.slope = None  # autograd has to find the gradients
        for weight in game.discriminator.parameters():
            torch.nn.init.normal_(weight, 0.0, 0.3)
        game.configure_optimizers()
        games.append(game)
    reals = {"real": torch.randn(4, 3, 16, 16, dtype=torch.float64), "labels": torch.arange(4) % 3}
    reals |= {"other": reals["real"], "other_labels": reals["labels"]}
    ours, theirs = (game.loss["discriminator"](game.batch("discriminator", reals))[0] for game in games)
    assert ours["r1"].min() > 0
    for term in ("loss", "r1", "r2"):
        torch.testing.assert_close(ours[term], theirs[term], rtol=1e-9, atol=1e-12)


def dtypes(game, player, batch):
    """The dtypes of what the layers return in a player's loss, by their names."""
    found = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: found.setdefault(name, set()).add(out.dtype))
        for name, layer in game.named_modules()
        if name.startswith(("generator", "discriminator")) and not list(layer.children())
    ]
    terms, _ = game.loss[player](game.batch(player, batch))
    for hook in hooks:
        hook.remove()
    return found, terms


def test_in_bfloat16_the_penalties_passes_are_mixed_and_what_must_be_is_in_full():
    draw = torch.Generator().manual_seed(0)
    batch = {"real": torch.rand(8, 3, 16, 16, generator=draw) * 2 - 1, "labels": torch.arange(8) % 3}
    batch |= {"other": batch["real"], "other_labels": batch["labels"]}
    games = {}
    for precision in ("fp32", "bf16", "fp16"):
        seed_everything(0)
        games[precision] = model(precision=precision, gamma=(1.0, 1.0))
        games[precision].configure_optimizers()
        with torch.no_grad():
            for block in (b for b in games[precision].modules() if isinstance(b, r3gan.Residual)):
                block.layers[4].weight.normal_(0, 0.1)
    found, mixed = dtypes(games["bf16"], "discriminator", batch)
    for name, kinds in found.items():
        full = name.startswith(("generator.blocks.0", "generator.linear", "generator.output", "generator.embedding"))
        full |= name.startswith(("discriminator.blocks.2", "discriminator.output", "discriminator.embedding"))
        boundary = name == "generator.blocks.1.0"  # doubles what comes from the stage in full
        assert kinds == {torch.float32 if full or boundary else torch.bfloat16}, name
    _, exact = dtypes(games["fp32"], "discriminator", batch)
    for term in ("loss", "r1", "r2"):
        assert mixed[term].dtype == torch.float32
        assert mixed[term].mean().item() == pytest.approx(exact[term].mean().item(), rel=0.05)
    found, _ = dtypes(games["fp16"], "discriminator", batch)
    assert {kind for name, kinds in found.items() if name.startswith("discriminator") for kind in kinds} == {
        torch.float32
    }
    differences = model(
        precision="bf16", regularizers={"r1": FiniteDifferenceR1(weight=1.0), "r2": FiniteDifferenceR2(weight=1.0)}
    )
    differences.configure_optimizers()
    found, _ = dtypes(differences, "discriminator", batch)
    assert {kind for name, kinds in found.items() if name.startswith("discriminator") for kind in kinds} == {
        torch.float32
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"other": None}, "data.other: none, but this model takes new reals for the generator's step"),
        ({"other": ImageSpec(32, 32, 3, 3)}, "data.other: its images"),
        ({"other": ImageSpec(16, 16, 3, 2)}, "data.other: has 2 classes, but data 3"),
        ({"image": ImageSpec(16, 16, 3), "other": ImageSpec(16, 16, 3)}, "a conditional model needs labels"),
        ({"image": ImageSpec(20, 18, 3, 3), "other": ImageSpec(20, 18, 3, 3)}, "multiples of 4 px.*--size 20x16"),
        ({"width": 20}, "model.width: 20 leaves 20 channels, and twice as many are no groups of 16"),
        ({"widest": 8, "width": 8}, "leaves 4 channels.*a multiple of 32"),
        ({"decay_nimg": 0}, "until_nimg: 0: must be more than 0"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(UserError, match=words):
        model(**({"group_width": 16} | changes))


def test_images_that_are_no_squares_of_a_power_of_two():
    image = ImageSpec(24, 40, 1)
    g, d = (kind(image=image, width=8, group_width=8) for kind in (r3gan.Generator, r3gan.Discriminator))
    images = g(torch.randn(2, 64), torch.full((2,), -1))
    assert images.shape == (2, 1, 24, 40) and d(images, torch.full((2,), -1)).shape == (2,)


# --- what else keeps the scale of gradients


def test_a_stride_leaves_out_samples_and_counts_the_others_as_often():
    weight, images, noise = (torch.randn(*shape, dtype=torch.float64) for shape in ((12,), (8, 3, 2, 2), (8, 3, 2, 2)))
    passes = []

    def linear(points, change):
        passes.append(len(points))
        return points.flatten(1) @ weight + change["shift"]

    change = {"shift": torch.arange(8.0, dtype=torch.float64)}
    point = Point((images, change), linear(images, change), None, linear, "real", noise)
    found = FiniteDifferenceR1(weight=1.0, stride=4).penalty(point)
    expected = torch.zeros(8, dtype=torch.float64)
    expected[[0, 4]] = 4 * (noise.flatten(1) @ weight)[[0, 4]].square() / 2
    torch.testing.assert_close(found, expected)
    assert passes == [8, 2]
    with pytest.raises(UserError, match=r"regularizers\.r1\.stride: 3: must divide train.group, 4"):
        model(regularizers={"r1": FiniteDifferenceR1(weight=1.0, stride=3)})


def test_centering_holds_the_sum_of_a_pairs_logits_and_leaves_the_generator_alone():
    real, fake = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    plain, centred = RelativisticPaired(), RelativisticPaired(centering=0.01)
    torch.testing.assert_close(
        centred.discriminator(real, fake), plain.discriminator(real, fake) + 0.01 * torch.tensor([2.25, 1.0])
    )
    assert torch.equal(centred.generator(fake, real), plain.generator(fake, real))


def test_a_learning_rate_over_the_width():
    assert OverWidth(value=2e-4, width=384)(0) == 4e-4 and OverWidth(value=2e-4, width=1536)(10**9) == 1e-4


def test_the_slope_of_a_leaky_relu_costs_no_map_of_zeros():
    """Autograd makes and adds one where the signs are its tensor: a seventh of the step's bytes."""

    class Zeros(TorchDispatchMode):
        shapes: ClassVar[list[torch.Size]] = []

        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            if operator.overloadpacket is torch.ops.aten.zeros_like:
                self.shapes.append(args[0].shape)
            return operator(*args, **(kwargs or {}))

    network = r3gan.Discriminator(image=SMALL, width=16, group_width=8)
    gradient, logits = network.with_gradient(torch.randn(2, 3, 16, 16), torch.zeros(2, dtype=torch.int64))
    with Zeros():
        (gradient.square().sum() + logits.sum()).backward()
    assert not [shape for shape in Zeros.shapes if len(shape) == 4]
