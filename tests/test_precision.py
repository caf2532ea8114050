"""Half precision on the CPU: what runs in it and what does not, and a loss scale for each player."""

from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam, RMSprop

from ganlab.engine.player import Seat
from ganlab.engine.precision import LossScale
from ganlab.engine.runtime import Runtime
from ganlab.models import DCGAN
from ganlab.regularizers import R1, R2, GradientPenalty
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec

IMAGE = ImageSpec(16, 16, 1)
BATCH = 16
PLAYERS = ("discriminator", "generator")
OVERFLOW = 2.0**100
"""A loss scale under which every float16 gradient is infinite."""


pytestmark = pytest.mark.usefixtures("one_thread")


def dcgan(precision, **changes):
    """A small DCGAN, its players seated; the same weights every time."""
    seed_everything(4)
    arguments = {"width": 8, "latent": 8, "regularizers": {"r1": R1(weight=0.5, every=2)}} | changes
    model = DCGAN(image=IMAGE, runtime=Runtime(precision=precision), **arguments)
    model.configure_optimizers()
    return model


def play(model, steps):
    """Play on the same noise every time; return the means."""
    draw = torch.Generator().manual_seed(1)
    for step in range(steps):
        images = torch.randint(0, 256, (BATCH, 1, 16, 16), dtype=torch.uint8, generator=draw)
        model.training_step((images, torch.full((BATCH,), -1)), step)
    return model.statistics.read()


def weights(model, player):
    return [parameter.detach().clone() for parameter in getattr(model, player).parameters()]


def same(some, others):
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


# --- half precision against float32


@pytest.mark.parametrize(
    ("precision", "dtype", "band"), [("bf16", torch.bfloat16, 0.005), ("fp16", torch.float16, 0.001)]
)
def test_a_game_in_half_precision_is_close_to_float32_and_keeps_its_weights_in_full(precision, dtype, band):
    model, full = dcgan(precision), play(dcgan("fp32"), 8)
    inside = []
    model.generator.layers[0].register_forward_hook(lambda layer, inputs, output: inside.append(output.dtype))
    half = play(model, 8)
    assert set(inside) == {dtype}
    assert half.keys() == full.keys()
    for name in ("discriminator/loss", "discriminator/r1", "generator/loss"):
        difference = abs(half[name] - full[name]) / full[name]
        assert 0 < difference < band, (name, difference)  # close, and not float32 in disguise
    assert half["discriminator/not_finite"] == half["generator/not_finite"] == 0
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32 and tensor.isfinite().all(), name
    for seat in model.seats.values():
        for moments in seat.optimizer.state.values():
            assert moments["exp_avg"].dtype == moments["exp_avg_sq"].dtype == torch.float32


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize(("penalty", "of"), [(R1, "real"), (R2, "fake"), (GradientPenalty, "interpolates")])
def test_a_penalty_runs_the_discriminator_in_float32_and_nothing_else_does(precision, dtype, penalty, of):
    model = dcgan(precision, regularizers={"penalty": penalty(weight=1.0, every=2)})
    inside, logits = [], []
    for layer in (model.discriminator.layers[0], model.discriminator.layers[3]):  # two convolutions
        layer.register_forward_hook(lambda layer, inputs, output: inside.append(output.dtype))
    score = model.score
    model.score = lambda *args, **kwargs: logits.append(score(*args, **kwargs)) or logits[-1]
    images, labels = torch.rand(BATCH, 1, 16, 16) * 2 - 1, torch.full((BATCH,), -1)
    passes = {"real": [torch.float32, dtype], "fake": [dtype, torch.float32]}
    passes["interpolates"] = [dtype, dtype, torch.float32]
    for expected in (passes[of], [dtype, dtype]):  # the penalty is due in the first step, and not in the second
        inside.clear()
        model.step("discriminator", {"real": images, "labels": labels})
        assert inside == [found for found in expected for _ in range(2)]
    model.step("generator", {"real": images, "labels": labels})
    assert inside[-2:] == [dtype] * 2
    assert {found.dtype for found in logits} == {torch.float32}


@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16"])
def test_only_float16_needs_loss_scales(precision):
    model = dcgan(precision)
    assert len(model.loss_scales) == 0 and all(seat.scale is None for seat in model.seats.values())


# --- loss scales


@pytest.mark.parametrize(("victim", "other"), [PLAYERS, PLAYERS[::-1]])
def test_an_overflow_skips_the_step_and_halves_the_scale_of_its_player_alone(victim, other):
    model = dcgan("fp16")
    play(model, 2)
    before = {player: weights(model, player) for player in PLAYERS}
    average = [parameter.clone() for parameter in model.ema.parameters()]
    model.loss_scales[victim].value.fill_(OVERFLOW)
    means = play(model, 1)
    assert (means[f"{victim}/not_finite"], means[f"{other}/not_finite"]) == (1, 0)
    assert same(weights(model, victim), before[victim])
    assert not any(torch.equal(a, b) for a, b in zip(weights(model, other), before[other], strict=True))
    assert model.loss_scales[victim].value == OVERFLOW / 2 and model.loss_scales[other].value == 2.0**16
    assert model.loss_scales[victim].finite == 0 and model.loss_scales[other].finite == 3
    steps = {name: {int(m["step"]) for m in seat.optimizer.state.values()} for name, seat in model.seats.items()}
    assert steps == {victim: {2}, other: {3}}  # Adam's bias correction counts the steps that were made
    assert model.clock.steps == {"discriminator": 3, "generator": 3} and model.clock.nimg == 3 * BATCH
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert not same(model.ema.parameters(), average)


def test_a_scale_that_is_too_large_finds_its_level():
    model = dcgan("fp16")
    model.loss_scales["discriminator"].value.fill_(2.0**40)
    before = weights(model, "discriminator")
    means = play(model, 40)
    masked = round(means["discriminator/not_finite"] * 40)
    assert 5 < masked < 35 and means["generator/not_finite"] == 0
    assert model.loss_scales["discriminator"].value == 2.0 ** (40 - masked)
    assert not same(weights(model, "discriminator"), before)


def test_a_scale_grows_after_enough_steps_that_were_finite(monkeypatch):
    monkeypatch.setattr(LossScale, "PATIENCE", 3)
    scale, seen = LossScale(), []
    for not_finite in (0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0):
        scale.update(torch.tensor(float(not_finite)))
        seen.append((scale.value.item() / 2**16, scale.finite.item()))
    assert seen == [(1, 1), (1, 2), (2, 0), (2, 1), (1, 0), (1, 1), (1, 2), (0.5, 0), (0.5, 1), (0.5, 2), (1, 0)]


def test_the_scales_of_a_game_grow_with_its_steps(monkeypatch):
    monkeypatch.setattr(LossScale, "PATIENCE", 2)
    model = dcgan("fp16")
    for scale in model.loss_scales.values():
        scale.value.fill_(16.0)  # far from where float16 overflows
    play(model, 5)
    for scale in model.loss_scales.values():
        assert (scale.value, scale.finite) == (64.0, 1)


def test_the_scales_are_saved_and_restored():
    model, other = dcgan("fp16"), dcgan("fp16")
    model.loss_scales["generator"].value.fill_(OVERFLOW)
    play(model, 5)
    other.load_state_dict(model.state_dict())
    for name, value, finite in (("generator", OVERFLOW / 2**5, 0), ("discriminator", 2.0**16, 5)):
        assert other.loss_scales[name].value == value and other.loss_scales[name].finite == finite
        assert other.seats[name].scale is other.loss_scales[name]  # the one that the seat uses


@pytest.mark.parametrize(
    "optimizer", [partial(Adam, lr=1e-3, betas=(0.5, 0.99)), partial(SGD, lr=1e-2), partial(RMSprop, lr=1e-4)]
)
def test_a_step_does_not_depend_on_the_scale(optimizer):
    """In float32, where scaling by a power of two is exact as long as nothing overflows."""
    ends = {}
    for factor in (None, 1.0, 2.0**16):
        model = dcgan("fp32", optimizers=dict.fromkeys(PLAYERS, optimizer))
        for name in PLAYERS if factor else ():
            scale = LossScale()
            scale.value.fill_(factor)
            model.seats[name] = Seat(model.players[name], {name: getattr(model, name)}, scale)
        start = weights(model, "generator")
        means = play(model, 6)
        assert means["discriminator/not_finite"] == means["generator/not_finite"] == 0
        ends[factor] = [weight for player in PLAYERS for weight in weights(model, player)]
        moved = max((a - b).abs().max().item() for a, b in zip(start, weights(model, "generator"), strict=True))
        assert moved > 1e-4
    for factor in (1.0, 2.0**16):
        for ours, theirs in zip(ends[factor], ends[None], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
