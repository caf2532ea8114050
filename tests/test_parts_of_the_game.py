"""Objectives, regularizers, augmentation, schedules and the clock, each against its formula."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ganlab.augment import InstanceNoise, MirrorFlip, augmented, change_of, drawn
from ganlab.engine.batch import Batch
from ganlab.engine.clock import Clock, crossed
from ganlab.engine.penalties import judge
from ganlab.objectives import Hinge, NonSaturating, RelativisticPaired, Wasserstein
from ganlab.regularizers import R1, R2, Drift, GradientPenalty, Point, input_gradient
from ganlab.schedules import Constant, Linear
from ganlab.seeding import Noise
from ganlab.types import UserError

LOGITS = st.lists(st.floats(-30, 30), min_size=1, max_size=5)


def judged(penalty, network, images):
    """Return the penalty of every image, and its term in a loss in which it is due."""
    gradient, output = input_gradient(network, images)
    due = Batch({"real": images}, {"it": penalty})
    terms, outputs = judge(lambda x, full=False: network(x), {penalty.at[0]: (images,)}, due)
    torch.testing.assert_close(outputs[penalty.at[0]], output)
    return penalty.penalty(Point((images,), output, gradient, network)), terms["it"]


@given(LOGITS)
def test_non_saturating_losses_are_those_of_the_paper(values):
    logits = torch.tensor(values, dtype=torch.float64)
    real, fake = logits, logits.flip(0) / 2

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    expected = [
        -math.log(sigmoid(r)) - math.log(sigmoid(-f)) for r, f in zip(real.tolist(), fake.tolist(), strict=True)
    ]
    # Above 20 torch's softplus is x itself, and leaves out what is then at most 2e-9.
    assert NonSaturating().discriminator(real, fake).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    expected = [-math.log(sigmoid(f)) for f in fake.tolist()]
    assert NonSaturating().generator(fake).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_non_saturating_stays_finite_far_out():
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = NonSaturating().discriminator(far, -far) + NonSaturating().generator(far)
    assert loss.tolist() == pytest.approx([3e4, 0.0])
    assert torch.autograd.grad(loss.sum(), far)[0].tolist() == pytest.approx([-3.0, 0.0])


@given(LOGITS)
def test_hinge_and_wasserstein_losses_are_those_of_the_papers(values):
    real = torch.tensor(values, dtype=torch.float64)
    fake = real.flip(0) / 2
    pairs = list(zip(real.tolist(), fake.tolist(), strict=True))
    hinge = [max(0.0, 1 - r) + max(0.0, 1 + f) for r, f in pairs]
    assert Hinge().discriminator(real, fake).tolist() == pytest.approx(hinge)
    assert Wasserstein().discriminator(real, fake).tolist() == pytest.approx([f - r for r, f in pairs])
    for objective in (Hinge(), Wasserstein()):
        assert objective.generator(fake).tolist() == [-f for _, f in pairs]


@given(LOGITS)
def test_relativistic_losses_are_those_of_pairs(values):
    real = torch.tensor(values, dtype=torch.float64)
    fake = real.flip(0) / 2
    expected = [math.log1p(math.exp(f - r)) for r, f in zip(real.tolist(), fake.tolist(), strict=True)]
    assert RelativisticPaired().discriminator(real, fake).tolist() == pytest.approx(expected, rel=1e-8, abs=1e-12)
    expected = [math.log1p(math.exp(r - f)) for r, f in zip(real.tolist(), fake.tolist(), strict=True)]
    assert RelativisticPaired().generator(fake, real).tolist() == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_hinge_pushes_no_logit_that_is_far_enough():
    logits = torch.tensor([-3.0, -1.5, -0.5, 0.5, 1.5], requires_grad=True)
    slope = torch.autograd.grad(Hinge().discriminator(logits, torch.zeros(5)).sum(), logits)[0]
    assert slope.tolist() == [-1, -1, -1, -1, 0]
    slope = torch.autograd.grad(Hinge().discriminator(torch.zeros(5), logits).sum(), logits)[0]
    assert slope.tolist() == [0, 0, 1, 1, 1]


def test_gradient_penalty_of_a_linear_critic_is_the_norm_of_its_weights():
    images = torch.randn(4, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.full((3, 5, 5), 0.3, dtype=torch.float64, requires_grad=True)
    regularizer = GradientPenalty(weight=10.0, every=2)
    penalty, term = judged(regularizer, lambda x: (x * weight).sum((1, 2, 3)), images)
    norm = 0.3 * 75**0.5
    torch.testing.assert_close(penalty, torch.full((4,), (norm - 1) ** 2).double())
    slope = torch.autograd.grad(term.mean(), weight)[0]
    torch.testing.assert_close(slope, 20 * 2 * (norm - 1) * weight.detach() / norm)
    assert regularizer.at == ("interpolates",)


def test_gradient_penalty_of_a_quadratic_critic_is_that_of_finite_differences():
    """D(x) = w |x|^2 has a gradient of norm 2 w |x|."""
    images = torch.randn(4, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def total(weight):
        _, term = judged(GradientPenalty(weight=10.0), lambda x: weight * x.square().sum((1, 2, 3)), images)
        return term.sum()

    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    norms = 2 * 0.7 * images.flatten(1).norm(dim=1)
    torch.testing.assert_close(total(weight), 10 * (norms - 1).square().sum())
    slope = torch.autograd.grad(total(weight), weight)[0].item()
    assert slope == pytest.approx((total(weight + 1e-6) - total(weight - 1e-6)).item() / 2e-6, rel=1e-8)


def test_gradient_penalty_of_a_flat_critic_is_one_and_has_a_derivative():
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    images = torch.ones(2, 1, 2, 2, dtype=torch.float64)
    penalty, _ = judged(GradientPenalty(weight=10.0), lambda x: weight * x.sum((1, 2, 3)), images)
    assert penalty.tolist() == pytest.approx([1, 1], abs=1e-5)
    assert torch.autograd.grad(penalty.sum(), weight)[0] == 0


def test_drift_is_the_squared_logit_of_the_reals():
    logits = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64, requires_grad=True)
    regularizer = Drift(weight=0.001, every=4)
    assert (regularizer.at, regularizer.gradient) == (("real",), False)
    _, term = judged(regularizer, lambda x: x, logits)
    assert term.tolist() == pytest.approx([0.016, 0, 0.036])
    slope = torch.autograd.grad(term.sum(), logits)[0]
    assert slope.tolist() == pytest.approx([-0.016, 0, 0.024])


@pytest.mark.parametrize(("penalty", "at"), [(R1, "real"), (R2, "fake")])
def test_penalty_of_a_quadratic_discriminator_is_known(penalty, at):
    """D(x) = |x|^2 w has the gradient 2 x w, and w |x|^4 as the integral: both derivatives by hand."""
    images = torch.randn(4, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def network(x):
        return weight * x.square().sum((1, 2, 3))

    gradient, logits = input_gradient(network, images)
    squares = images.square().sum((1, 2, 3))
    torch.testing.assert_close(logits, weight * squares)
    torch.testing.assert_close(gradient, 2 * weight * images)
    regularizer = penalty(weight=5.0, every=3)
    assert regularizer.at == (at,) and regularizer.every == 3
    value, term = judged(regularizer, network, images)
    torch.testing.assert_close(value, 2 * weight**2 * squares)
    torch.testing.assert_close(term, 15 * 2 * weight**2 * squares)
    slope = torch.autograd.grad(term.sum(), weight)[0]
    torch.testing.assert_close(slope, 15 * 4 * weight.detach() * squares.sum())


def test_mirror_flip_mirrors_half_the_images_left_to_right():
    images = torch.randn(2000, 2, 3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    out = MirrorFlip()(images, MirrorFlip().draw(images.shape, Noise(0, 0), "x"))
    mirrored = (out == images[..., [3, 2, 1, 0]]).all(3).all(2).all(1)
    kept = (out == images).all(3).all(2).all(1)
    assert (mirrored ^ kept).all()
    assert stats.binomtest(int(mirrored.sum()), 2000).pvalue > 1e-3
    other = MirrorFlip()(images, MirrorFlip().draw(images.shape, Noise(0, 0), "y"))
    assert not torch.equal(out, other)
    out.square().sum().backward()
    torch.testing.assert_close(images.grad, 2 * images.detach())


def test_instance_noise_fades_and_is_another_for_reals_and_fakes():
    fading = InstanceNoise(std=Linear(start=0.5, end=0.0, until_nimg=1000))
    images = torch.zeros(200, 3, 4, 4)
    for nimg, std in ((0, 0.5), (500, 0.25), (1000, 0.0)):
        tensors = drawn(fading, images.shape, Noise(0, nimg), "discriminator")
        real, fake = (augmented(fading, images, change_of(tensors, kind)) for kind in ("real", "fake"))
        for noised in (real, fake):
            assert noised.std().item() == pytest.approx(std, rel=0.05) and abs(noised.mean()) <= 0.05 * std
        assert nimg == 1000 or abs((real * fake).mean()) < 0.05 * std**2
    constant = InstanceNoise(std=0.3)
    assert constant(images, constant.draw(images.shape, Noise(0, 10**9), "x")).std().item() == pytest.approx(
        0.3, rel=0.05
    )


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6), st.floats(-2, 2), st.floats(-2, 2))
def test_linear_is_a_line_between_two_ends(nimg, first, length, start, end):
    schedule = Linear(from_nimg=first, until_nimg=first + length, start=start, end=end)
    if nimg <= first:
        assert schedule(nimg) == start
    elif nimg >= first + length:
        assert schedule(nimg) == pytest.approx(end)
    else:
        expected = ((first + length - nimg) * start + (nimg - first) * end) / length
        assert schedule(nimg) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("until", [0, 99, 100])
def test_a_line_that_ends_before_it_begins_is_refused(until):
    with pytest.raises(UserError, match=f"until_nimg: {until} is not after from_nimg, 100"):
        Linear(from_nimg=100, until_nimg=until)


def test_constant_is_constant():
    assert [Constant()(0), Constant(value=0.3)(0), Constant(value=0.3)(10**9)] == [1.0, 0.3, 0.3]


@given(st.integers(1, 1000), st.integers(0, 10**6), st.integers(1, 3000))
def test_a_cadence_is_crossed_once_at_or_past_each_multiple(every, before, step):
    after = before + step
    assert crossed(every, before, after) == any(n % every == 0 for n in range(before + 1, after + 1))


BOTH_AT_0 = {"discriminator": 0, "generator": 0}


def clock_at(nimg, **steps):
    clock = Clock(steps)
    clock.nimg, clock.steps = nimg, steps
    return clock


def test_clock_comes_back_as_plain_values():
    clock = clock_at(64, discriminator=3, generator=1)
    clock.waited["generator"] = 2
    state = clock.state_dict()
    clock.steps["generator"] += 1
    other = Clock(["discriminator", "generator"])
    assert other.state_dict() == {"nimg": 0, "moves": BOTH_AT_0, "waited": BOTH_AT_0}
    other.load_state_dict(state)
    expected = clock_at(64, discriminator=3, generator=1)
    assert other != expected
    expected.waited["generator"] = 2
    assert other == expected
    other.steps["discriminator"] += 1
    other.waited["generator"] += 1
    assert state == {
        "nimg": 64,
        "moves": {"discriminator": 3, "generator": 1},
        "waited": {"discriminator": 0, "generator": 2},
    }


def test_a_clock_of_the_first_edition_comes_back():
    clock = Clock(["discriminator", "generator"])
    clock.load_state_dict({"nimg": 64, "moves": {"discriminator": 3, "generator": 1}})
    assert clock == clock_at(64, discriminator=3, generator=1)
