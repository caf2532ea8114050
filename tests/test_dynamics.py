"""Dynamics: closed forms of two-parameter games, the estimators of consensus, and what is refused."""

import math
from functools import partial
from itertools import product

import games
import numpy as np
import pytest
import tiny
import tiny_runs as runs
import torch
from repository import REPOSITORY
from torch.optim import SGD, Adam, RMSprop

from ganlab.constraints import WeightClip
from ganlab.engine.batch import Batch
from ganlab.engine.dynamics import (
    Alternating,
    Consensus,
    Extragradient,
    Simultaneous,
    SymplecticAdjustment,
    Unrolled,
)
from ganlab.engine.dynamics.field import Field, field_of, one_batch
from ganlab.engine.dynamics.second_order import even_and_odd
from ganlab.engine.runtime import Runtime
from ganlab.experiment import checks
from ganlab.experiment.config import load
from ganlab.layers.spectral import spectral_norm
from ganlab.metrics.spectrum import consensus, eigenvalues, jacobian
from ganlab.models import DiracGAN, GANModule
from ganlab.networks import dcgan, dirac
from ganlab.objectives import NonSaturating, Wasserstein
from ganlab.pictures.axes import BOTTOM, FAKE, GREY, LEFT, RIGHT, TOP
from ganlab.regularizers import R1
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

H, POINT, IN_FULL = 0.1, ImageSpec(1, 1, 1), Runtime(precision="fp64")


def two_parameters(dynamics=None, lr=H, **changes):
    """psi x against theta, from (1, 1): with Wasserstein's loss xi = (theta, -psi)."""
    arguments = {
        "image": POINT,
        "generator": dirac.Generator(image=POINT),
        "discriminator": dirac.Discriminator(),
        "objective": Wasserstein(),
        "optimizers": dict.fromkeys(("generator", "discriminator"), partial(SGD, lr=lr)),
        "dynamics": dynamics,
    }
    game = GANModule(**(arguments | tiny.with_runtime(changes, precision="fp64", group=1)))
    game.configure_optimizers()
    return game


def at(game):
    return torch.stack([game.discriminator.psi, game.generator.theta]).detach().clone()


def zeros(n=2):
    return {"real": torch.zeros(n, 1, 1, 1, dtype=torch.float64), "labels": torch.full((n,), -1)}


def play(game, rounds):
    path = [at(game)]
    for number in range(rounds):
        game.training_step(zeros(), number)
        path.append(at(game))
    return torch.stack(path)


# --- the bilinear game: each dynamics is a linear map

J = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
ONE = torch.eye(2, dtype=torch.float64)
FIRST, SECOND = torch.diag(ONE[0]), torch.diag(ONE[1])


def unrolled(k):
    """The generator's gradient is -psi + 2 K eta theta; a stop-gradient imitation has K instead of 2 K."""
    return ONE - H * torch.tensor([[0.0, 1.0], [-1.0, 2 * k * H]], dtype=torch.float64)


MAPS = {
    "simultaneous": (Simultaneous(), ONE - H * J, math.sqrt(1 + H**2)),
    "alternating": (Alternating(), (ONE - H * SECOND @ J) @ (ONE - H * FIRST @ J), 1.0),
    "extragradient": (Extragradient(), ONE - H * J @ (ONE - H * J), math.sqrt((1 - H**2) ** 2 + H**2)),
    "consensus 1": (Consensus(gamma=1.0), ONE - H * (J + J.T @ J), abs(complex(1 - H, H))),
    "consensus 10": (Consensus(gamma=10.0), ONE - H * (J + 10 * J.T @ J), 0.1),
    "consensus of halves": (Consensus(gamma=1.0, independent_batches=True), ONE - H * (J + J.T @ J), 0.9055385),
    "symplectic": (SymplecticAdjustment(weight=1.0), ONE - H * (J + J.T @ J), abs(complex(1 - H, H))),
    "not aligned": (SymplecticAdjustment(weight=2.0, align=False), ONE - H * (J + 2 * J.T @ J), abs(complex(0.8, H))),
    "unrolled 0": (Unrolled(steps=0), unrolled(0), 1.0049876),
    "unrolled 1": (Unrolled(steps=1), unrolled(1), 0.9949874),
    "unrolled 5": (Unrolled(steps=5), unrolled(5), 0.9539392),
}


@pytest.mark.parametrize("name", MAPS)
def test_the_bilinear_game_moves_by_its_closed_form(name):
    dynamics, step, factor = MAPS[name]
    path = play(two_parameters(dynamics), 8)
    for number, point in enumerate(path):
        assert torch.allclose(point, torch.linalg.matrix_power(step, number) @ torch.ones_like(point), atol=1e-12)
    assert torch.linalg.eigvals(step).abs().max().item() == pytest.approx(factor, abs=1e-7)


def test_alternating_steps_keep_an_ellipse():
    path = play(two_parameters(), 40)
    energy = path.square().sum(1) - H * path.prod(1)
    assert (energy - energy[0]).abs().max() < 1e-12


def test_past_extragradient_is_optimistic_descent():
    """Its points w~ follow w_{t+1} = w_t - 2 h g_t + h g_{t-1} (Daskalakis et al. 2018); w is half a step behind."""
    path = play(two_parameters(Extragradient(past=True)), 20)
    ahead, before = path[0], torch.zeros_like(path[0])
    for point in path[1:]:
        g = J @ ahead
        assert torch.allclose(point, ahead - H * g + H * before, atol=1e-12)
        ahead, before = point - H * g, g


@pytest.mark.parametrize("optimizer", [partial(SGD, lr=0.1, momentum=0.5), partial(Adam, lr=0.1, betas=(0.5, 0.9))])
def test_unrolling_goes_through_the_optimizers_state(optimizer):
    """Autograd through torch's own optimizer formulas, from the state that earlier rounds have left."""
    optimizers = {"discriminator": optimizer, "generator": partial(SGD, lr=1.0)}
    game = two_parameters(Unrolled(steps=3), optimizers=optimizers)
    play(game, 2)
    (psi, theta), (state,) = at(game), game.seats["discriminator"].optimizer.state.values()
    theta, phi, t = theta.requires_grad_(), psi, 2
    first, second = (state[name].clone() if name in state else 0.0 for name in ("exp_avg", "exp_avg_sq"))
    velocity = state.get("momentum_buffer", 0.0) + 0.0
    for _ in range(3):
        g, t = theta, t + 1
        velocity = 0.5 * velocity + g
        first, second = 0.5 * first + 0.5 * g, 0.9 * second + 0.1 * g**2
        adam = first / (1 - 0.5**t) / ((second / (1 - 0.9**t)).sqrt() + 1e-8)
        phi = phi - 0.1 * (velocity if optimizer.func is SGD else adam)
    (want,) = torch.autograd.grad(-theta * phi, theta)
    play(game, 1)
    assert (theta - at(game)[1]).item() == pytest.approx(want.item(), abs=1e-12)


# --- Dirac-GAN


def xi_of(game):
    batches = one_batch(game, list(game.players), zeros())
    game.require_gradients(game.network_names)
    return field_of(game, batches)


def jacobian_at(game, *point):
    return jacobian(xi_of(game), torch.tensor(point, dtype=torch.float64))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_eigenvalues_of_dirac_gan(gamma):
    """gamma / 2 +- sqrt(gamma^2 / 4 - f'(0)^2), f'(0) = 1/2 (Mescheder et al. 2018, section 4.1)."""
    game = two_parameters(objective=NonSaturating(), regularizers={"r1": R1(weight=gamma)})
    root = torch.tensor(gamma**2 / 4 - 0.25, dtype=torch.complex128).sqrt()
    want = torch.stack([gamma / 2 - root, gamma / 2 + root])
    solution = torch.zeros(2, dtype=torch.float64)
    found = jacobian(xi_of(game), solution)
    assert torch.allclose(eigenvalues(found), want, atol=1e-7)  # a double root is found to half the digits
    pulled = jacobian(consensus(xi_of(game), 2.0), solution)
    assert torch.allclose(pulled, found + 2 * found.T @ found, atol=1e-12)
    if gamma == 0:  # both leave the axis, by 2 f'(0)^2
        assert torch.allclose(eigenvalues(pulled), want + 2.0 / 4, atol=1e-12)


def test_a_loss_passes_gradients_on_to_the_other_player():
    """With the fake detached, the block d xi_D / d theta would be exactly 0."""
    psi, theta, s = 0.7, -0.4, 1 / (1 + math.exp(0.28))
    found = jacobian_at(two_parameters(objective=NonSaturating()), psi, theta)
    assert found[0, 1].item() == pytest.approx(
        s + psi * theta * s * (1 - s), abs=1e-12
    )  # d (theta s(psi theta)) / d theta


# --- products with the Jacobian, frozen weights, potential games


class Team(games.Duel):
    """Both players descend the same loss."""

    def discriminator_loss(self, batch):
        made = self.call(self.generator, batch.latents, batch.fake_labels)
        return {"loss": self.call(self.discriminator, made, batch.fake_labels).square()}

    generator_loss = discriminator_loss


def duel(dynamics, kind=games.Duel, **runtime):
    torch.manual_seed(3)
    game = kind(image=ImageSpec(2, 2, 1), dynamics=dynamics, runtime=Runtime(**({"precision": "fp64"} | runtime)))
    game.configure_optimizers()
    return game


def some_reals(n=8):
    return {"real": torch.linspace(-1, 1, 4 * n, dtype=torch.float64).view(n, 1, 2, 2), "labels": torch.full((n,), -1)}


def test_products_with_the_jacobian():
    game = duel(Consensus(gamma=1.0))
    game.require_gradients(game.network_names)
    found = Field(game, one_batch(game, list(game.players), some_reals()))
    rows = torch.stack(
        [
            torch.cat(
                [
                    g.flatten()
                    for g in torch.autograd.grad(entry, found.weights, retain_graph=True, materialize_grads=True)
                ]
            )
            for entry in found.graph
        ]
    )
    v = torch.linspace(-1, 1, len(found.value), dtype=torch.float64)
    assert torch.allclose(found.transposed(v), rows.T @ v, atol=1e-14)
    assert torch.allclose(found.times(v), rows @ v, atol=1e-14)
    assert (rows - rows.T).norm() > 0.1


def test_symplectic_adjustment_leaves_a_potential_game_alone():
    moved = []
    for dynamics in (SymplecticAdjustment(weight=5.0), Consensus(gamma=0.0)):
        game = duel(dynamics, Team)
        game.training_step(some_reals(), 0)
        moved.append(game.state_dict())
    assert tiny.distance(*moved) < 1e-12
    assert not torch.equal(
        moved[0]["generator.layers.0.bias"], duel(None, Team).state_dict()["generator.layers.0.bias"]
    )


class Normalized(tiny.Discriminator):
    """With spectral norm."""

    def __init__(self):
        super().__init__()
        spectral_norm(self.layers[0])


@pytest.mark.parametrize("discriminator", [tiny.Discriminator, Normalized])
def test_convolutions_move_as_by_simultaneous_steps(discriminator):
    """Without their own terms, on the latents of one player, with a fused Adam and channels-last weights."""
    ends = []
    for dynamics in (Simultaneous(), Consensus(gamma=0.0), SymplecticAdjustment(weight=0.0)):
        torch.manual_seed(1)
        game = tiny.game(dynamics=dynamics, discriminator=discriminator(), regularizers={"r1": R1(weight=0.5, every=2)})
        game.draw = lambda player, *rest, draw=game.draw: draw("discriminator", *rest)
        game.configure_optimizers()
        for number, batch in enumerate(tiny.batches(4, 4)):
            game.training_step(batch, number)
        ends.append(game.state_dict())
    assert tiny.distance(ends[0], ends[1]) < 1e-12 and tiny.distance(ends[0], ends[2]) < 1e-12


def test_frozen_weights_take_no_part():
    for dynamics in (Consensus(gamma=1.0), SymplecticAdjustment(), Extragradient(), Unrolled(steps=2)):
        game = duel(dynamics, freeze=("generator.layers.0",))
        before = {name: p.clone() for name, p in game.named_parameters()}
        game.training_step(some_reals(), 0)
        still = {name for name, p in game.named_parameters() if torch.equal(p, before[name])}
        assert still == {f"{net}.layers.0.{kind}" for net in ("generator", "ema") for kind in ("weight", "bias")}


def test_a_gradient_that_is_not_finite_moves_nothing():
    for dynamics in (Consensus(gamma=1.0), SymplecticAdjustment(), Extragradient(past=True), Unrolled(steps=2)):
        game, bad = duel(dynamics), some_reals()
        game.training_step(some_reals(), 0)
        before = {name: p.clone() for name, p in game.named_parameters() if not name.startswith("ema")}
        bad["real"][0] = float("nan")
        game.training_step(bad, 1)
        after = dict(game.named_parameters())
        moved = {name.split(".")[0] for name, p in before.items() if not torch.equal(p, after[name])}
        assert moved <= ({"generator"} if isinstance(dynamics, Extragradient) else set())  # whose gradient is good
        game.training_step(some_reals(), 2)
        assert all(p.isfinite().all() for p in game.parameters())


# --- the bias of consensus: over all batches of a population of three


class Population(games.Duel):
    """Nothing is random but the reals: the generator's latents are zeros."""

    def draw(self, player, n, noise, labels):
        return {name: torch.zeros_like(values) for name, values in super().draw(player, n, noise, labels).items()}


def test_consensus_has_a_bias_of_trace_cov_over_b_and_independent_batches_have_none():
    game = duel(Consensus(gamma=1.0), Population, group=1)
    game.require_gradients(game.network_names)
    points = torch.tensor([[-1.0, 0.2, 0.5, 1.0], [0.3, 0.1, -0.7, 0.0], [0.9, -0.4, 0.6, -1.0]], dtype=torch.float64)

    def batches(numbers):
        real = points[list(numbers)].view(-1, 1, 2, 2)
        return one_batch(game, list(game.players), {"real": real, "labels": torch.full((len(real),), -1)})

    each = [Field(game, batches([i])) for i in range(3)]
    xi = torch.stack([one.graph for one in each])
    mean = xi.mean(0)
    trace = (xi - mean).square().sum(1).mean()
    weights = each[0].weights

    def gradient(value):
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, weights, retain_graph=True)])

    wanted = {
        False: gradient(mean.square().sum() / 2 + trace / 2 / 2),  # E |xi_b|^2 = |xi|^2 + tr Cov / b, b = 2
        True: gradient(mean.square().sum() / 2),
    }
    assert (wanted[False] - wanted[True]).norm() > 0.01
    for independent, want in wanted.items():
        dynamics = Consensus(gamma=1.0, independent_batches=independent)
        directions = [dynamics.direction(game, batches(pair))[0] for pair in product(range(3), repeat=2)]
        assert torch.allclose(torch.stack(directions).mean(0) - mean.detach(), want, atol=1e-12)


def test_halves_are_the_same_samples_on_any_number_of_ranks():
    whole = Batch({"real": torch.arange(16)})
    halves = even_and_odd(whole, group=2)
    assert [half["real"].tolist() for half in halves] == [[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]]
    ranks = [even_and_odd(piece, group=2) for piece in whole.pieces(8)]
    for half in range(2):
        assert torch.equal(torch.cat([pair[half]["real"] for pair in ranks]), halves[half]["real"])
    with pytest.raises(UserError, match="two independent batches of 6 samples per process; write a multiple of 4"):
        even_and_odd(Batch({"real": torch.arange(6)}), group=2)


# --- what goes with what


def test_a_trainer_counts_rounds_and_not_looks_ahead():
    game = duel(Extragradient())
    counted = []
    seat = game.seats["discriminator"]
    seat.count = lambda step=seat.optimizer.step: counted.append(step())
    game.training_step(some_reals(), 0)
    assert len(counted) == 1 and game.clock.steps == {"discriminator": 1, "generator": 1}


def test_rounds_of_players_with_periods():
    game = two_parameters(Unrolled(steps=1), discriminator_steps=3)
    play(game, 6)
    assert game.clock.steps == {"discriminator": 6, "generator": 2}
    with pytest.raises(UserError, match="Consensus moves all players in every round, but the generator does not"):
        two_parameters(Consensus(), discriminator_steps=3)


class Detached(games.Duel):
    """A loss that switches gradients off, as most code in the field does."""

    def discriminator_loss(self, batch):
        with torch.no_grad():
            made = self.call(self.generator, batch.latents, batch.fake_labels)
        return {"loss": self.call(self.discriminator, made, batch.fake_labels)}


def test_a_loss_without_its_cross_gradients_is_refused():
    duel(Extragradient(), Detached).training_step(some_reals(), 0)
    for dynamics in (Consensus(), SymplecticAdjustment(), Unrolled(steps=1)):
        with pytest.raises(UserError, match=r"needs all gradients, but the discriminator's loss runs a Sketch under"):
            duel(dynamics, Detached).training_step(some_reals(), 0)


RMS = {"generator": partial(SGD, lr=0.1), "discriminator": partial(RMSprop, lr=0.1)}
DECAYED = {"generator": partial(SGD, lr=0.1), "discriminator": partial(Adam, lr=0.1, weight_decay=0.1)}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"dynamics": Consensus(), "precision": "fp16"}, "Consensus .* float16's loss scales do not allow; write bf16"),
        ({"dynamics": SymplecticAdjustment(), "micro_batch": 2}, "whole batch at once; write train.micro_batch=null"),
        ({"dynamics": Unrolled(), "micro_batch": 2}, "Unrolled needs the gradient of the whole batch at once"),
        (
            {"dynamics": Unrolled(), "optimizers": RMS},
            "the discriminator's optimizer, which must be torch.optim.SGD or",
        ),
        ({"dynamics": Unrolled(), "optimizers": DECAYED}, "must be torch.optim.SGD or Adam without weight_decay"),
        (
            {"dynamics": Unrolled(), "constraints": {"clip": WeightClip()}},
            "constraints on the discriminator; remove clip",
        ),
        ({"dynamics": Unrolled(), "generator_batch": 2.0}, "loss and the batch of the discriminator; remove its own"),
        ({"dynamics": Unrolled(steps=-1)}, "looks ahead by a number of steps, not -1"),
        (
            {"dynamics": Consensus(), "generator": dcgan.Generator(image=ImageSpec(16, 16, 1), width=2)},
            "the generator several times in a step, but its batch norm would write running statistics",
        ),
    ],
)
def test_what_dynamics_cannot_go_with_is_refused(arguments, reason):
    with pytest.raises(UserError, match=f"^model.dynamics: .*{reason}"):
        two_parameters(**arguments)


def test_players_of_one_network_are_refused():
    with pytest.raises(UserError, match="needs networks of their own for all players, but two move the encoder"):
        game = games.Autoencoder(image=ImageSpec(8, 8, 1))
        Consensus(gamma=1.0)._check_derivatives(game)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (
            "machine.compile=true",
            "Consensus differentiates through gradients, which compiled losses cannot; write mach",
        ),
        ("train.checkpoint_blocks=true", "the generator has no blocks to recompute"),
        ("train.batch=12", "train.batch: 12 images cannot be shared by 1 process in groups of 8 (train.group, twice)"),
        ("train.micro_batch=4", "write train.micro_batch=null"),
        ("model.dynamics.gama=2", "model.dynamics.gama: unknown key; did you mean 'gamma'?"),
    ],
)
def test_a_config_is_refused_before_anything_is_written(tmp_path, key, reason):
    halves = ["train.batch=8", "model.dynamics.independent_batches=true"]
    config, run = REPOSITORY / "configs/toy/bilinear.yaml", tmp_path / "run"
    assert reason in runs.refused("train", config, f"run={run}", *halves, key)
    assert not run.exists()


def test_whole_weights_are_needed(monkeypatch):
    config = load(REPOSITORY / "configs/toy/bilinear.yaml", ["machine.shard=true"])
    checks.check_dynamics(config, duel(Extragradient()))
    monkeypatch.setenv("WORLD_SIZE", "2")
    checks.check_dynamics(config, duel(Simultaneous()))
    with pytest.raises(UserError, match=r"Extragradient needs whole weights on every process; write machine.shard=fal"):
        checks.check_dynamics(config, duel(Extragradient()))


def test_blocks_are_not_recomputed():
    config = load(REPOSITORY / "configs/toy/bilinear.yaml", ["train.checkpoint_blocks=true"])
    checks.check_dynamics(config, duel(Extragradient()))
    with pytest.raises(UserError, match=r"which recomputed blocks cannot; write train.checkpoint_blocks=false"):
        checks.check_dynamics(config, two_parameters(Unrolled()))


# --- what is seen of a game in the plane


def test_a_game_in_the_plane_remembers_its_way_and_draws_it():
    game = DiracGAN(image=POINT, objective=Wasserstein(), lr=H, dynamics=Consensus(gamma=1.0), runtime=IN_FULL)
    game.configure_optimizers()
    _, step, _ = MAPS["consensus 1"]
    path = [at(game)]
    for number in range(5):
        game.training_step(zeros(4), number)
        path.append(step @ path[-1])
    assert torch.allclose(game.path[-6:], torch.stack(path), atol=1e-12)
    picture = game.picture()
    assert picture.size == (1024, 512)
    left, right = (np.asarray(picture)[:, half].astype(int) for half in (slice(0, 512), slice(512, 1024)))
    assert near(left, FAKE, 3, across(path[-1][1], 2.0), down(path[-1][0], 2.0))  # theta across, psi up
    for colour, real in ((GREY, 0.0), (FAKE, -1.0)):  # eigenvalues of -J: +-i, and -1 +- i with consensus
        assert all(near(right, colour, 3, across(real, 2.0), down(imaginary, 2.0)) for imaginary in (-1.0, 1.0))


def across(value, extent):
    return LEFT + (float(value) / extent + 1) / 2 * (512 - LEFT - RIGHT)


def down(value, extent):
    return 512 - BOTTOM - (float(value) / extent + 1) / 2 * (512 - TOP - BOTTOM)


def near(pixels, colour, reach, x, y):
    """Whether there is a pixel of a colour near to a place."""
    row, column = round(y), round(x)
    window = pixels[row - reach : row + reach + 1, column - reach : column + reach + 1]
    return bool((abs(window - np.array(colour)).sum(-1) < 30).any())
