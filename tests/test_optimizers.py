"""Optimizers: torch's own to the bit, their masked steps, and their scalars in time."""

import copy
from functools import partial

import numpy as np
import pytest
import tiny
import torch
from tiny import OnTheHost
from torch import nn, optim

from ganlab.constraints import MaxColumnNorm, WeightClip
from ganlab.engine.adam import StillAdam
from ganlab.engine.optimizers import MakeOptimizer, lazy, make_optimizer, masks_itself, value_at
from ganlab.engine.player import Player, Seat
from ganlab.experiment.parts import build, check_value
from ganlab.optim import Lookahead, Normalized, Optimistic
from ganlab.regularizers import R1
from ganlab.schedules import Constant, Linear
from ganlab.types import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

MAKERS = {
    "RMSprop": partial(optim.RMSprop, lr=1e-2, momentum=0.9, centered=True, weight_decay=0.1),
    "Adagrad": partial(optim.Adagrad, lr=1e-2, lr_decay=0.1),
    "SGD": partial(optim.SGD, lr=1e-2, momentum=0.9, nesterov=True, weight_decay=0.1),
    "plain SGD": partial(optim.SGD, lr=1e-2),
    "NAdam": partial(optim.NAdam, lr=1e-2, weight_decay=0.1),
    "RAdam": partial(optim.RAdam, lr=1e-2),
    "Adamax": partial(optim.Adamax, lr=1e-2),
    "Adadelta": partial(optim.Adadelta, lr=1.0, weight_decay=0.1),
    "ASGD": partial(optim.ASGD, lr=1e-2),
    "Rprop": partial(optim.Rprop, lr=1e-2),
    "Adam": partial(optim.Adam, lr=1e-2, amsgrad=True),
    "AdamW": partial(optim.AdamW, lr=1e-2),
    "optimistic Adam": partial(Optimistic, optimizer=partial(optim.Adam, lr=1e-2, fused=True)),
    "normalized": partial(Normalized, optimizer=partial(optim.Adam, lr=1e-2, fused=True)),
    "lookahead": partial(Lookahead, optimizer=partial(optim.RMSprop, lr=1e-2), steps=2),
}
FUSED = {"SGD", "plain SGD", "Adam", "AdamW"}
"""Those that skip a step by themselves."""
STILL = {name: partial(optim.SGD, lr=0.0) for name in ("generator", "discriminator")}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 2)).to(memory_format=torch.channels_last)


def seat_of(make, **player):
    live = network()
    return Seat(Player("it", optimizer=make, **player), {"it": live})


def gradients(step):
    """Of so manieth step, for the weights of `network`."""
    draw = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=draw) for p in network().parameters()]


def take(seat, found, nimg=0, skip=None):
    """Make a step on these gradients."""
    seat.begin(nimg)
    for parameter, gradient in zip(seat.network.parameters(), found, strict=True):
        parameter.grad = gradient.clone(memory_format=torch.preserve_format)
    return seat.update(skip)


def memory(optimizer):
    """What an optimizer remembers, and the weights: all its tensors, by name."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    states = {(i, name): v for i, p in enumerate(weights) for name, v in optimizer.state.get(p, {}).items()}
    return {(i, "weight"): p.detach().clone() for i, p in enumerate(weights)} | {
        place: value.clone() for place, value in states.items() if isinstance(value, torch.Tensor)
    }


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for place, value in ours.items():
        assert torch.equal(value, theirs[place]), place


@pytest.mark.parametrize("name", MAKERS)
def test_ten_steps_are_torchs_own_to_the_bit(name):
    seat, own = seat_of(MAKERS[name]), network()
    assert masks_itself(seat.optimizer) == (name in FUSED)
    theirs = MAKERS[name](own.parameters(), **({"fused": True} if name in FUSED else {}))
    for step in range(10):
        take(seat, gradients(step))
        for parameter, gradient in zip(own.parameters(), gradients(step), strict=True):
            parameter.grad = gradient
        theirs.step()
        assert_same(memory(seat.optimizer), memory(theirs))
    assert all(not torch.equal(a, b) for a, b in zip(own.parameters(), network().parameters(), strict=True))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("name", MAKERS)
def test_masked_steps_change_nothing_whenever_they_come(name, value):
    """Before the first step, between two, and two at once: what is left is what the others alone would leave."""
    seat, undisturbed = seat_of(MAKERS[name]), seat_of(MAKERS[name])
    bad = gradients(99)
    bad[0][1, 0, 2, 2] = value
    for step, masked in enumerate([2, 1, 0, 1, 0]):
        for _ in range(masked):
            before = memory(seat.optimizer)
            assert take(seat, bad)["not_finite"].tolist() == [1]
            after = memory(seat.optimizer)
            assert_same({place: after[place] for place in before}, before)
        assert take(seat, gradients(step))["not_finite"].tolist() == [0]
        take(undisturbed, gradients(step))
        assert_same(memory(seat.optimizer), memory(undisturbed.optimizer))
    assert seat.read_culprits() == {"0.weight": 4} and seat.read_culprits() == {}


@pytest.mark.parametrize("name", ["RMSprop", "Adam"])
def test_a_step_that_is_to_be_skipped_changes_nothing(name):
    seat, undisturbed = seat_of(MAKERS[name]), seat_of(MAKERS[name])
    for step, skip in enumerate([1.0, 0.0, 1.0, 0.0]):
        found = take(seat, gradients(step), skip=torch.tensor(skip))
        assert (found["skipped"].tolist(), found["not_finite"].tolist()) == ([skip], [0])
        if not skip:
            take(undisturbed, gradients(step))
            assert_same(memory(seat.optimizer), memory(undisturbed.optimizer))
    assert seat.read_culprits() == {}


def test_a_player_that_begins_anew_may_be_masked_at_once():
    for name in ("SGD", "NAdam"):
        seat = seat_of(MAKERS[name])
        take(seat, gradients(0))
        seat.optimizer.state.clear()
        for _ in range(2):  # memory that was in use a moment ago
            take(seat, [torch.full_like(g, torch.inf) for g in gradients(1)])
        expected = seat_of(MAKERS[name])
        expected.network.load_state_dict(seat.network.state_dict())
        take(seat, gradients(2))
        take(expected, gradients(2))
        assert_same(memory(seat.optimizer), memory(expected.optimizer))


def test_what_an_optimizer_remembers_is_plain_again_and_can_be_saved():
    seat, other = seat_of(MAKERS["NAdam"]), seat_of(MAKERS["NAdam"])
    take(seat, gradients(0))
    saved = copy.deepcopy(seat.optimizer.state_dict())
    assert {type(state) for state in saved["state"].values()} == {dict}
    other.network.load_state_dict(seat.network.state_dict())
    other.optimizer.load_state_dict(saved)
    for step in (1, 2):
        take(seat, gradients(step))
        take(other, gradients(step))
    assert_same(memory(seat.optimizer), memory(other.optimizer))


# --- a game of them


@pytest.mark.parametrize("name", MAKERS)
def test_a_game_with_any_of_them_goes_on_after_what_is_not_finite(name):
    module = tiny.game(optimizers=dict.fromkeys(("generator", "discriminator"), MAKERS[name]))
    module.configure_optimizers()
    images, labels = next(tiny.batches(1, 4))
    bad = images.clone()
    bad[1, 0, 2, 2] = torch.inf
    start = {key: value.clone() for key, value in module.discriminator.state_dict().items()}
    module.step("discriminator", {"real": bad, "labels": labels})
    assert tiny.distance(module.discriminator.state_dict(), start) == 0
    for number in range(4):
        module.training_step((images, labels), number)
    assert tiny.distance(module.discriminator.state_dict(), start) > 1e-6
    assert all(value.isfinite().all() for value in module.state_dict().values())
    seen = module.statistics.read()
    assert seen["discriminator/not_finite"] == pytest.approx(1 / 5) and seen["generator/not_finite"] == 0


# --- constraints


def test_weight_clip_holds_every_weight_after_every_step_and_nothing_else():
    clipped, free = seat_of(MAKERS["RMSprop"], constraints={"clip": WeightClip(bound=0.05)}), seat_of(MAKERS["RMSprop"])
    take(clipped, gradients(0))
    take(free, gradients(0))
    for ours, theirs in zip(clipped.network.parameters(), free.network.parameters(), strict=True):
        assert torch.equal(ours, theirs.clamp(-0.05, 0.05)) and ours.abs().max() == ours.new_tensor(0.05)
    moments = [{k: v for k, v in memory(seat.optimizer).items() if k[1] != "weight"} for seat in (clipped, free)]
    assert_same(*moments)


def test_the_weights_of_the_player_that_is_clipped_alone_are():
    module = tiny.game(constraints={"clip": WeightClip(bound=0.02)})
    module.configure_optimizers()
    start = [p.detach().clone() for p in module.generator.parameters()]
    for number, batch in enumerate(tiny.batches(3, 4)):
        module.training_step(batch, number)
        assert max(p.abs().max().item() for p in module.discriminator.parameters()) == 0.02
    assert max(p.abs().max().item() for p in module.generator.parameters()) > 0.5
    assert all(not torch.equal(a, b) for a, b in zip(module.generator.parameters(), start, strict=True))


def test_max_column_norm_bounds_the_inputs_of_every_unit():
    bound = 0.5
    bounded, free = (seat_of(MAKERS["SGD"], constraints=c) for c in ({"norm": MaxColumnNorm(bound=bound)}, {}))
    with torch.no_grad():
        for seat in (bounded, free):
            seat.network[0].weight[1] = 0  # of norm 0 after the step, without its gradient
    for seat in (bounded, free):
        found = gradients(0)
        found[0][1] = 0
        take(seat, found)
    for ours, theirs in zip(bounded.network.parameters(), free.network.parameters(), strict=True):
        if theirs.ndim == 1:
            assert torch.equal(ours, theirs)
        for row, was in zip(ours.flatten(1), theirs.flatten(1), strict=True) if theirs.ndim > 1 else ():
            assert row.norm().item() == pytest.approx(min(bound, was.norm().item()), rel=1e-6)
            torch.testing.assert_close(row * was.norm(), was * row.norm())  # only shrunk
    assert bounded.network[0].weight[1].abs().max() == 0


# --- optimizers around others


def bilinear(make, steps, start=(1.0, 1.0)):
    """Play min over t, max over p of t p, both at once; return the points."""
    t, p = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in start)
    players, points = [make_optimizer(make, [each]) for each in (t, p)], []
    for _ in range(steps):
        t.grad, p.grad = p.detach().clone(), -t.detach().clone()
        for player in players:
            player.step()
        points.append(complex(t.item(), p.item()))
    return points


def test_optimism_contracts_the_bilinear_game_by_the_closed_rate():
    """The roots of l^2 - (1 + 2ih) l + ih: 0.99494 for h = 0.1; plain descent grows by sqrt(1 + h^2)."""
    points = bilinear(partial(Optimistic, optimizer=partial(optim.SGD, lr=0.1)), 1000)
    root = max(abs(r) for r in np.roots([1, -(1 + 0.2j), 0.1j]))
    assert abs(points[-1]) / abs(points[-2]) == pytest.approx(root, abs=1e-8) and round(root, 5) == 0.99494
    assert abs(points[-1]) == pytest.approx(0.00896, abs=1e-5)
    plain = bilinear(partial(optim.SGD, lr=0.1), 10)
    assert abs(plain[-1]) / abs(plain[-2]) == pytest.approx(1.01**0.5, rel=1e-12)


def test_optimistic_adam_by_hand():
    """Daskalakis et al. 2018, algorithm 1: each move with the correction of its own step."""
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = Optimistic([w], partial(optim.Adam, lr=0.1, betas=(0.5, 0.9)))
    want, m, v, last = w.detach().clone(), 0, 0, 0
    for t in range(1, 8):
        g = torch.tensor([t - 3.0, 0.5 * t], dtype=torch.float64)
        w.grad = g.clone()
        optimizer.step()
        m, v = 0.5 * m + 0.5 * g, 0.9 * v + 0.1 * g**2
        move = 0.1 * (m / (1 - 0.5**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-8)
        want, last = want - 2 * move + last, move
        torch.testing.assert_close(w.detach(), want, rtol=1e-12, atol=0)


def test_lookahead_by_hand_contracts_the_bilinear_game():
    fast = slow = complex(1, 1)
    points = bilinear(partial(Lookahead, optimizer=partial(optim.SGD, lr=0.1), steps=5, pull=0.5), 100)
    for number, found in enumerate(points, 1):
        fast += complex(-0.1 * fast.imag, 0.1 * fast.real)
        if number % 5 == 0:
            slow += 0.5 * (fast - slow)
            fast = slow
        assert found == pytest.approx(fast, rel=1e-12)
    assert abs(points[-1]) < abs(points[0])


def test_normalized_descent_by_hand_ignores_the_scale_of_the_loss():
    for scale in (1.0, 1e-6):
        weights = [nn.Parameter(torch.zeros(2, dtype=torch.float64)), nn.Parameter(torch.zeros(1, dtype=torch.float64))]
        optimizer, want, mean = Normalized(weights, partial(optim.SGD, lr=0.1), decay=0.9), torch.zeros(3).double(), 0.0
        for t in range(1, 7):
            g = torch.tensor([t - 3.0, 0.5 * t, -1.0], dtype=torch.float64)
            weights[0].grad, weights[1].grad = scale * g[:2], scale * g[2:]
            optimizer.step()
            mean = 0.9 * mean + 0.1 * g.norm()
            want = want - 0.1 * g / (mean / (1 - 0.9**t))
            torch.testing.assert_close(torch.cat([w.detach() for w in weights]), want, rtol=1e-12, atol=1e-12)
    with pytest.raises(UserError, match=r"decay: 1\.0: must be at least 0 and less than 1"):
        Normalized(weights, partial(optim.SGD, lr=0.1), decay=1.0)


def test_an_optimizer_around_another_has_its_schedules_and_its_saved_state():
    make = partial(Optimistic, optimizer=partial(optim.Adam, lr=Linear(until_nimg=10, start=1e-2, end=0.0)))
    seat, other = seat_of(make), seat_of(make)
    take(seat, gradients(0), nimg=5)
    assert seat.optimizer.inner.param_groups[0]["lr"] == 5e-3
    other.network.load_state_dict(seat.network.state_dict())
    other.optimizer.load_state_dict(copy.deepcopy(seat.optimizer.state_dict()))
    for step in (6, 7):
        take(seat, gradients(step), nimg=step)
        take(other, gradients(step), nimg=step)
    assert_same(memory(seat.optimizer), memory(other.optimizer))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"pull": 0.0}, {"pull": 1.5}])
def test_a_lookahead_that_looks_nowhere_is_refused(wrong):
    with pytest.raises(ValueError, match="write at least 1 step, and a pull above 0 and up to 1"):
        make_optimizer(partial(Lookahead, optimizer=partial(optim.SGD, lr=0.1), **wrong), network().parameters())


# --- scalars in time


def test_scalars_of_an_optimizer_are_those_of_the_moment():
    make = partial(
        optim.Adam,
        lr=Linear(until_nimg=100, start=1e-2, end=1e-3),
        betas=(Linear(until_nimg=50, start=0.5, end=0.9), 0.99),
    )
    seat = seat_of(make, lr_schedule=Linear(from_nimg=20, until_nimg=120))
    seen = []
    for nimg in (0, 20, 25, 70, 120):
        take(seat, gradients(nimg), nimg)
        (group,) = seat.optimizer.param_groups
        seen += [group["lr"], *group["betas"]]
    assert seen == pytest.approx(
        [1e-2, 0.5, 0.99, 8.2e-3, 0.66, 0.99, 7.75e-3 * 0.95, 0.7, 0.99, 3.7e-3 * 0.5, 0.9, 0.99, 0.0, 0.9, 0.99]
    )


def test_steps_with_scalars_in_time_are_torchs_own_with_those_values():
    lr, beta = Linear(until_nimg=10, start=1e-2, end=1e-3), Linear(until_nimg=8, start=0.5, end=0.9)
    seat, own = seat_of(partial(optim.NAdam, lr=lr, betas=(beta, 0.99))), network()
    theirs = optim.NAdam(own.parameters())
    for step in range(10):
        take(seat, gradients(step), step)
        theirs.param_groups[0].update(lr=lr(step), betas=(beta(step), 0.99))
        for parameter, gradient in zip(own.parameters(), gradients(step), strict=True):
            parameter.grad = gradient
        theirs.step()
        assert_same(memory(seat.optimizer), memory(theirs))


@pytest.mark.parametrize(
    "betas", [(Constant(value=0.5), 0.99), (0.0, Linear(until_nimg=8, start=0.9, end=0.99))], ids=["constant", "linear"]
)
def test_adam_for_cuda_graphs_takes_betas_from_the_device_and_makes_torchs_own_steps(betas):
    """To the bit those of its plain form, a masked step before each, with no copy from or to the host."""
    adam, own = partial(optim.Adam, lr=2**-7, betas=betas), network()  # a rate that float32 holds
    seat = Seat(Player("it", optimizer=adam), {"it": network()}, still=True)
    theirs, host, step_of = optim.Adam(own.parameters(), 2**-7), OnTheHost(), seat.count

    def watched():
        with host:
            step_of()

    seat.count = watched
    for step in range(10):
        take(seat, [torch.full_like(g, torch.inf) for g in gradients(step)], step)
        take(seat, gradients(step), step)
        theirs.param_groups[0]["betas"] = value_at(betas, step)
        for parameter, gradient in zip(own.parameters(), gradients(step), strict=True):
            parameter.grad = gradient
        theirs.step()
        assert_same(memory(seat.optimizer), memory(theirs))
    assert isinstance(seat.optimizer, StillAdam) and host.noted == []
    eager = seat_of(adam)
    eager.optimizer.load_state_dict(copy.deepcopy(seat.optimizer.state_dict()))
    take(eager, gradients(10), 10)
    assert eager.optimizer.param_groups[0]["betas"] == value_at(betas, 10)


def test_the_weight_of_a_penalty_is_that_of_the_moment():
    """The lazy one is `every` times as strong, at the images shown before the step; eight of them a step."""
    weight = Linear(from_nimg=8, until_nimg=40, start=4.0, end=2.0)
    inconstant, constant = (
        tiny.game(regularizers={"r1": R1(weight=value, every=2)}, optimizers=STILL) for value in (weight, 1.0)
    )
    ratios = []
    for batch in tiny.batches(6, 8):
        terms = []
        for module in (inconstant, constant):
            module.seats or module.configure_optimizers()
            module.training_step(batch, 0)
            terms.append(module.statistics.read().get("discriminator/r1"))
        ratios.append(terms[0] / terms[1] if terms[0] is not None else None)
    assert ratios == [pytest.approx(4.0), None, pytest.approx(3.5), None, pytest.approx(2.5), None]


def test_the_half_life_of_an_average_is_that_of_the_moment():
    module = tiny.game(optimizers=STILL, ema_half_life=Linear(from_nimg=0, until_nimg=16, start=8.0, end=16.0))
    module.configure_optimizers()
    with torch.no_grad():
        for parameter in module.ema.parameters():
            parameter.add_(1.0)
    for number, batch in enumerate(tiny.batches(3, 8)):
        module.training_step(batch, number)
    kept = 0.5 ** (8 / 12) * 0.5 ** (8 / 16) * 0.5 ** (8 / 16)  # after the discriminator's step, so at 8, 16 and 24
    for average, live in zip(module.ema.parameters(), module.generator.parameters(), strict=True):
        torch.testing.assert_close(average - live, torch.full_like(live, kept))


def test_a_line_without_an_end_ends_with_the_run():
    module = tiny.game(lr_schedule=Linear(), total_nimg=80)
    module.configure_optimizers()
    seen = []
    for number, batch in enumerate(tiny.batches(11, 8)):
        module.training_step(batch, number)
        seen.append(module.learning_rates()["discriminator"])
    assert seen == pytest.approx([3e-3 * (1 - number / 10) for number in range(11)])
    endless = tiny.game(lr_schedule=Linear())
    endless.configure_optimizers()
    with pytest.raises(UserError, match="until_nimg: null, and the length of the run is not known; write until_nimg"):
        endless.training_step(next(tiny.batches(1, 8)), 0)


def test_adam_is_corrected_for_a_lazy_penalty_as_the_paper_says():
    optimizer = make_optimizer(lazy(partial(optim.Adam, lr=1e-2, betas=(0.5, 0.99)), 16), network().parameters())
    (group,) = optimizer.param_groups
    assert group["lr"] == pytest.approx(1e-2 * 16 / 17)
    assert group["betas"] == pytest.approx((0.5 ** (16 / 17), 0.99 ** (16 / 17)))


def test_an_optimizer_around_another_is_made_of_a_config():
    adam = {"_target_": "torch.optim.Adam", "lr": {"_target_": "ganlab.schedules.Linear", "start": 1e-3, "end": 0}}
    part = {"_target_": "ganlab.optim.Lookahead", "optimizer": adam, "steps": 6}
    assert not list(check_value(part, MakeOptimizer, "model.optimizers.generator", ()))
    made = make_optimizer(build(part, MakeOptimizer, total_nimg=100), network().parameters())
    assert (made.steps, made.inner.defaults["lr"]) == (6, 1e-3)
    (wrong,) = check_value({**part, "optimizer": {"_target_": "os.system"}}, MakeOptimizer, "model.optimizers.it", ())
    assert wrong.startswith("model.optimizers.it.optimizer._target_: 'os.system' is not a trusted target; this place")
