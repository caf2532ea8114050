"""Every regularizer: its penalty against its formula, its gradient against finite differences, what it remembers."""

import copy

import pytest
import tiny
import torch
from scipy import stats
from torch.nn import functional as F

from ganlab import regularizers
from ganlab.engine.batch import Batch
from ganlab.engine.penalties import judge, noise_of
from ganlab.objectives import MMD
from ganlab.regularizers import (
    DRAGAN,
    R1,
    R2,
    Consistency,
    Drift,
    FiniteDifferenceR1,
    FiniteDifferenceR2,
    GradientPenalty,
    HistoricalAveraging,
    JacobianClamping,
    JSRegularizer,
    LeCam,
    LipschitzPenalty,
    ModeSeeking,
    Orthogonal,
    PathLength,
    Point,
    Regularizer,
    ZeroCenteredPenalty,
)
from ganlab.types import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

OF_THE_DISCRIMINATOR = [
    R1(weight=2.0),
    R2(weight=2.0),
    GradientPenalty(weight=2.0),
    LipschitzPenalty(weight=2.0),
    ZeroCenteredPenalty(weight=2.0),
    DRAGAN(weight=2.0, std=0.3),
    JSRegularizer(weight=2.0),
    FiniteDifferenceR1(weight=2.0, std=0.1),
    FiniteDifferenceR2(weight=2.0, std=0.1),
    Drift(weight=2.0),
    LeCam(weight=2.0),
    Consistency(weight=2.0),
    Orthogonal(weight=2.0),
    HistoricalAveraging(weight=2.0),
]
OF_THE_GENERATOR = [
    JacobianClamping(weight=2.0, least=9.0, most=0.1),
    PathLength(weight=2.0),
    ModeSeeking(weight=2.0),
    Orthogonal(weight=2.0),
    HistoricalAveraging(weight=2.0),
]
PLAYERS = {"discriminator": OF_THE_DISCRIMINATOR, "generator": OF_THE_GENERATOR}
EVERY = pytest.mark.parametrize(
    ("player", "penalty"), [(player, p) for player, ps in PLAYERS.items() for p in ps], ids=lambda value: str(value)
)


def name_of(penalty):
    return type(penalty).__name__.lower()


def game_with(**penalties):
    """A game with penalties by player, steep enough that they count; its players are seated."""
    arguments = {
        {"discriminator": "regularizers", "generator": "generator_regularizers"}[player]: {name_of(p): p for p in each}
        for player, each in penalties.items()
    }
    game = tiny.game(**arguments, ema_half_life=50.0)
    with torch.no_grad():
        for weight in game.discriminator.parameters():
            weight.mul_(5)
    game.configure_optimizers()
    return game


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_every_regularizer_is_tested():
    kinds = {at for at in regularizers.__all__ if Regularizer in getattr(getattr(regularizers, at), "__mro__", ())}
    assert kinds - {"Regularizer"} == {type(p).__name__ for ps in PLAYERS.values() for p in ps}


# --- each in a game


@EVERY
def test_a_term_counts_and_its_gradient_is_that_of_finite_differences(player, penalty):
    game = game_with(**{player: [penalty]})
    at = name_of(penalty)
    for number, batch in enumerate(tiny.batches(2, 4)):  # so that it has something to remember
        game.training_step(batch, number)
    real, labels = next(tiny.batches(1, 4))
    batch = game.batch(player, {"real": real, "labels": labels})

    def term():
        terms, _ = game.loss[player](batch)
        assert terms[at].shape == terms["loss"].shape == (4,)
        return terms[at].sum()

    weights = game.weights(player)
    for network in game.networks.values():
        network.requires_grad_(True)
    gradients = torch.autograd.grad(term(), weights, allow_unused=True)
    direction = [draw(*w.shape, seed=number) for number, w in enumerate(weights)]
    slope = sum((g * d).sum().item() for g, d in zip(gradients, direction, strict=True) if g is not None)
    values = {}
    with torch.no_grad():
        for step in (1e-5, -2e-5):
            torch._foreach_add_(weights, direction, alpha=step)
            values[step] = term().item()
    assert values[1e-5] > 0 and abs(slope) > 1e-6
    assert slope == pytest.approx((values[1e-5] - values[-2e-5]) / 2e-5, rel=2e-5)


def everything(**changes):
    seat = {
        "regularizers": {name_of(p): p for p in OF_THE_DISCRIMINATOR},
        "generator_regularizers": {name_of(p): p for p in OF_THE_GENERATOR},
    }
    game = tiny.game(**seat, **changes)
    game.configure_optimizers()
    return game


def play(game, batches):
    for number, batch in enumerate(batches):
        game.training_step(batch, number)
    return game


def test_micro_batches_change_nothing_with_all_of_them():
    whole, cut = (play(everything(micro_batch=size), tiny.batches(4, 8)) for size in (None, 2))
    assert tiny.distance(whole.state_dict(), cut.state_dict()) < 1e-11
    assert whole.statistics.read() == pytest.approx(cut.statistics.read(), rel=1e-9)


def test_what_they_remember_is_saved_and_a_killed_game_goes_on_with_it():
    whole, batches = everything(), list(tiny.batches(6, 4))
    play(whole, batches[:3])
    checkpoint = {"optimizer_states": [copy.deepcopy(s.optimizer.state_dict()) for s in whole.seats.values()]}
    whole.on_save_checkpoint(checkpoint)
    saved = copy.deepcopy({**checkpoint, "state_dict": whole.state_dict()})
    memories = {at: value.clone() for at, value in whole.named_buffers(recurse=False)}
    assert set(memories) == {
        "discriminator_lecam",
        "discriminator_historicalaveraging",
        "generator_pathlength",
        "generator_historicalaveraging",
    }
    rest = everything()
    rest.load_state_dict(saved["state_dict"])
    rest.on_load_checkpoint(saved)
    for seat, state in zip(rest.seats.values(), saved["optimizer_states"], strict=True):
        seat.optimizer.load_state_dict(state)
    for game in (whole, rest):
        play(game, batches[3:])
    assert tiny.distance(rest.state_dict(), whole.state_dict()) == 0
    assert all(not torch.equal(value, getattr(whole, at)) for at, value in memories.items())


def test_a_step_that_is_not_finite_leaves_no_trace_in_what_they_remember():
    game = play(everything(), tiny.batches(2, 4))
    images, labels = next(tiny.batches(1, 4))
    before = {at: getattr(game, f"discriminator_{at}").clone() for at in ("lecam", "historicalaveraging")}
    game.step("discriminator", {"real": images / 0, "labels": labels})
    assert game.discriminator_historicalaveraging.isfinite().all()
    assert game.discriminator_lecam[0] == before["lecam"][0] and game.discriminator_lecam.isfinite().all()


# --- each against its formula


def penalized(penalty, network, inputs, at=None, noise=None, memory=None):
    """The penalty of every sample, of a network in plain torch."""
    name = at or penalty.at[0]
    tensors = {name: inputs} | ({} if noise is None else {noise_of("it"): noise})
    batch = Batch(tensors, {"it": penalty}, memory={} if memory is None else {"it": memory})
    terms, outputs = judge(lambda x, full=False: network(x), {name: (inputs,)}, batch)
    return terms["it"] / penalty.weight, outputs


def test_penalties_at_interpolates_are_functions_of_the_norm():
    """D(x) = <w, x> has the gradient w everywhere."""
    for length in (0.25, 1.0, 3.0):
        w = torch.full((1, 2, 2), length / 2, dtype=torch.float64)
        for penalty, want in (
            (GradientPenalty, (length - 1) ** 2),
            (LipschitzPenalty, max(0, length - 1) ** 2),
            (ZeroCenteredPenalty, length**2),
        ):
            found, _ = penalized(penalty(weight=3.0), lambda x, w=w: (x * w).sum((1, 2, 3)), draw(2, 1, 2, 2))
            assert found.tolist() == pytest.approx([want] * 2, abs=1e-9)


def test_dragan_looks_around_the_reals():
    """D(x) = |x|^2 / 2 has the gradient x."""
    x, noise = draw(5, 1, 3, 3), draw(5, 1, 3, 3, seed=1)
    found, _ = penalized(DRAGAN(weight=2.0, std=0.5), lambda x: x.square().sum((1, 2, 3)) / 2, x, noise=noise)
    torch.testing.assert_close(found, ((x + 0.5 * noise).flatten(1).norm(dim=1) - 1).square())


def test_the_js_regularizer_of_a_linear_discriminator():
    """At D = 0 it is |a|^2 / 4 / 2 for each kind; else as Roth et al. write it, the weights' gradient included."""
    a, b = draw(4), torch.tensor(0.7, dtype=torch.float64)
    x = draw(6, 1, 2, 2)

    def total(scale, at):
        found, _ = penalized(JSRegularizer(weight=1.0), lambda x: scale * (x.flatten(1) @ a + b), x, at=at)
        return found

    for at in ("real", "fake"):
        scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
        logits = 1.3 * (x.flatten(1) @ a + b)
        probability = (-logits if at == "real" else logits).sigmoid()
        torch.testing.assert_close(total(scale, at), probability**2 * 1.3**2 * a.square().sum() / 2)
        assert torch.autograd.gradcheck(lambda s, at=at: total(s, at), (scale,))
    flat = penalized(JSRegularizer(weight=1.0), lambda x: x.flatten(1) @ a - (x.flatten(1) @ a).detach(), x, at="real")
    torch.testing.assert_close(flat[0], (a.square().sum() / 8).expand(6))


def test_finite_differences_estimate_r1():
    """Of a linear D exactly, in the mean over directions: |w|^2 / 2."""
    w = draw(48)
    x, noise = draw(4096, 3, 4, 4), draw(4096, 3, 4, 4, seed=1)
    for penalty, exact in ((FiniteDifferenceR1, R1), (FiniteDifferenceR2, R2)):
        found, _ = penalized(penalty(weight=1.0), lambda x: x.flatten(1) @ w, x, noise=noise)
        truth, _ = penalized(exact(weight=1.0), lambda x: x.flatten(1) @ w, x)
        assert found.mean().item() == pytest.approx(truth.mean().item(), rel=0.08)
        torch.testing.assert_close(found, (noise.flatten(1) @ w).square() / 2)


def test_lecam_pulls_only_what_is_beyond_the_others_mean():
    memory = torch.tensor([1.0, -2.0], dtype=torch.float64)  # of reals, of fakes
    logits = torch.tensor([-3.0, 0.0, 4.0], dtype=torch.float64)
    real, _ = penalized(LeCam(weight=0.3), lambda x: x, logits, at="real", memory=memory)
    fake, _ = penalized(LeCam(weight=0.3), lambda x: x, logits, at="fake", memory=memory)
    assert real.tolist() == pytest.approx([0, 4, 36]) and fake.tolist() == pytest.approx([16, 1, 0])
    LeCam(weight=1.0).remember(memory, {"real_logit": logits, "fake_logit": logits + 1}, [], 0)
    assert memory.tolist() == pytest.approx([0.99 + 0.01 / 3, -1.98 + 0.04 / 3])


def test_consistency_compares_an_image_with_its_mirrored_and_shifted_copy():
    """Cut by hand from images with broad borders; each copy is as likely as any other."""
    x, noise, w = draw(900, 2, 8, 6), draw(900, 2, 8, 6, seed=1), draw(2, 8, 6, seed=2)
    found, _ = penalized(Consistency(weight=10.0, shift=0.25), lambda x: (x * w).sum((1, 2, 3)), x, noise=noise)
    chosen = stats.norm.cdf(noise.flatten(1)[:, :3].numpy())
    places = set()
    for image, (flip, down, right), value in zip(x, chosen, found, strict=True):
        copy = image.flip(2) if flip < 0.5 else image
        i, j = int(5 * down) - 2, int(5 * right) - 2
        copy = F.pad(copy, (2, 2, 2, 2), mode="replicate")[:, 2 - i : 10 - i, 2 - j : 8 - j]
        assert value.item() == pytest.approx(((image - copy) * w).sum().item() ** 2, abs=1e-10)
        places.add((flip < 0.5, i, j))
    assert len(places) == 2 * 5 * 5


@pytest.mark.parametrize(("scale", "want"), [(0.5, 0.25), (1.0, 0.0), (5.0, 0.0), (20.0, 0.0), (30.0, 100.0)])
def test_jacobian_clamping_of_a_scaled_isometry(scale, want):
    columns = torch.linalg.qr(draw(12, 4))[0]  # G(z) = scale U z, U with orthonormal columns
    found, _ = penalized(
        JacobianClamping(weight=1.0), lambda z: (scale * z @ columns.T).view(-1, 3, 2, 2), draw(7, 4), noise=draw(7, 4)
    )
    assert found.tolist() == pytest.approx([want] * 7, abs=1e-9)


def test_path_length_is_that_of_a_linear_map_and_its_mean_follows():
    matrix, noise = draw(12, 4), draw(7, 3, 2, 2, seed=1)
    memory = torch.tensor(0.3, dtype=torch.float64)
    penalty = PathLength(weight=2.0)
    found, outputs = penalized(penalty, lambda z: (z @ matrix.T).view(-1, 3, 2, 2), draw(7, 4), None, noise, memory)
    lengths = (noise.flatten(1) @ matrix).norm(dim=1) / 2  # over the root of four pixels
    torch.testing.assert_close(outputs["length"], lengths)
    torch.testing.assert_close(found, (lengths - 0.3).square())
    penalty.remember(memory, outputs, [], 0)
    assert memory.item() == pytest.approx(0.99 * 0.3 + 0.01 * lengths.mean().item())


def test_mode_seeking_is_the_inverse_ratio_of_distances():
    z, other = draw(5, 4), draw(5, 4, seed=1)
    found, _ = penalized(ModeSeeking(weight=1.0), lambda z: (3 * z).view(-1, 1, 2, 2), z, noise=other)
    assert found.tolist() == pytest.approx([1 / (3 + 1e-5)] * 5)


def test_orthogonal_is_a_sum_over_pairs_of_units():
    weights = draw(3, 2, 2, 2), draw(3), draw(2, 4)
    want = sum(
        (w[i].flatten() @ w[j].flatten()).item() ** 2
        for w in (weights[0], weights[2])
        for i in range(len(w))
        for j in range(len(w))
        if i != j
    )
    found = Orthogonal(weight=1.0).penalty(Point(weights, weights[0], None, len))
    assert found.tolist() == pytest.approx([want])


def test_historical_averaging_is_the_distance_from_the_mean_of_all_weights_before():
    game = tiny.game(regularizers={"historicalaveraging": HistoricalAveraging(weight=0.5)})
    game.configure_optimizers()
    seen = []
    for number, batch in enumerate(tiny.batches(5, 4)):
        seen.append(torch.cat([p.detach().flatten() for p in game.discriminator.parameters()]))
        game.training_step(batch, number)
        want = 0.5 * (seen[-1] - torch.stack(seen).mean(0)).square().sum().item()
        assert game.statistics.read()["discriminator/historicalaveraging"] == pytest.approx(want, rel=1e-9, abs=1e-15)


# --- bad input


def test_a_negative_weight_is_refused():
    with pytest.raises(UserError, match=r"model.regularizers.r1.weight: -1.0: must not be negative"):
        tiny.game(regularizers={"r1": R1(weight=-1.0)})


def test_micro_batches_are_refused_where_a_loss_compares_the_batch():
    with pytest.raises(UserError, match=r"train.micro_batch: 2, but the loss compares all samples of a batch; write"):
        tiny.game(objective=MMD(), micro_batch=2)
