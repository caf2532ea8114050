"""Games of any number of players: each toy game of `launched/games.py` against a loop written by hand, and the engine's
promises for all of them."""

import copy
import inspect
import re
from functools import partial

import games
import pytest
import tiny
import torch
from repository import REPOSITORY
from torch.nn.functional import softplus

from ganlab.engine.game import Game
from ganlab.engine.optimizers import lazy
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.experiment.parts import build
from ganlab.models import GANModule
from ganlab.objectives import RelativisticPaired
from ganlab.regularizers import R1, Point, Regularizer
from ganlab.seeding import Noise, seed_everything
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE, SEED, N, GROUP = ImageSpec(8, 8, 1), 5, 8, 4
LR, BETA1, BETA2 = 2e-3, 0.5, 0.99


def made(name, **runtime):
    """A game in float64, with the same weights every time, whose players are seated."""
    seed_everything(SEED)
    settings = {"seed": SEED, "precision": "fp64"} | runtime
    game = build(games.GAMES[name], Game, ["games"], image=IMAGE, runtime=Runtime(**settings))
    game.configure_optimizers()
    return game


def reals(count, n=N, dtype=torch.float64):
    draw = torch.Generator().manual_seed(8)
    for _ in range(count):
        images = torch.rand(n, 1, 8, 8, generator=draw, dtype=torch.float64) * 2 - 1
        yield images.to(dtype), torch.full((n,), -1)


def play(game, batches):
    for number, batch in enumerate(batches):
        game.training_step(batch, number)
    return game


# --- each against a loop written by hand


class ByHand:
    """What a paper's reader would write: one process, no framework."""

    def __init__(self, game):
        self.nets = {name: copy.deepcopy(network) for name, network in game.networks.items()}
        self.averages = {name: copy.deepcopy(self.nets[name]) for name in game.averages}
        self.moments, self.steps, self.nimg = {}, {}, 0

    def latents(self, player, n=N):
        return Noise(SEED, self.nimg, 0, GROUP, dtype=torch.float64).normal(f"{player} latents", n, 4)

    def gradients(self, loss, *names):
        parameters = [p for name in names for p in self.nets[name].parameters()]
        return parameters, torch.autograd.grad(loss.mean(), parameters)

    def adam(self, player, gradients, lr=LR):
        t = self.steps[player] = self.steps.get(player, 0) + 1
        for parameter, gradient in zip(*gradients, strict=True):
            first, second = self.moments.get((player, parameter), (0, 0))
            first = BETA1 * first + (1 - BETA1) * gradient
            second = BETA2 * second + (1 - BETA2) * gradient**2
            self.moments[player, parameter] = first, second
            parameter.data -= lr * first / (1 - BETA1**t) / ((second / (1 - BETA2**t)).sqrt() + 1e-8)

    def average(self, name, kept):
        for mean, live in zip(self.averages[name].parameters(), self.nets[name].parameters(), strict=True):
            mean.data = kept * mean.data + (1 - kept) * live.data

    def weights(self):
        live = {f"{name}.{at}": p for name, network in self.nets.items() for at, p in network.named_parameters()}
        ema = list(self.averages)
        return live | {
            f"{'ema' if name == ema[0] else f'{name}_ema'}.{at}": p
            for name, network in self.averages.items()
            for at, p in network.named_parameters()
        }


def softly(x):
    return (1 + x.exp()).log()


def bigan(loop, number, x):
    g, e, d = (loop.nets[name] for name in ("generator", "encoder", "discriminator"))
    z = loop.latents("discriminator")
    x = x.clone().requires_grad_()
    with torch.no_grad():
        fake, codes = g(z), e(x)
    real_logits = d(x, codes)
    loss = softly(-real_logits) + softly(d(fake, z))
    if number % 2 == 0:
        (slope,) = torch.autograd.grad(real_logits.sum(), x, create_graph=True)
        loss = loss + 2 * 2.0 * slope.square().sum((1, 2, 3)) / 2
    loop.adam("discriminator", loop.gradients(loss, "discriminator"))
    loop.nimg += N
    z = loop.latents("generator")
    loss = softly(-d(g(z), z)) + softly(d(x.detach(), e(x.detach())))
    loop.adam("generator", loop.gradients(loss, "generator", "encoder"))
    loop.average("generator", 0.5 ** (N / 50))
    loop.average("encoder", 0.5 ** (N / 25))


def autoencoder(loop, number, x, simultaneous=False):
    e, g, c = (loop.nets[name] for name in ("encoder", "generator", "critic"))
    nimg = loop.nimg
    lr = 2e-3 + min((nimg if simultaneous else nimg + N) / 100, 1) * (5e-4 - 2e-3)

    def of_autoencoder():
        return loop.gradients((g(e(x)) - x).square().mean((1, 2, 3)), "encoder", "generator")

    def of_critic():
        return loop.gradients(softly(-c(loop.latents("critic"))) + softly(c(e(x).detach())), "critic")

    def of_encoder():
        return loop.gradients(softly(-c(e(x))), "encoder")

    if simultaneous:
        first, second, third = of_autoencoder(), of_critic(), of_encoder()
        loop.adam("autoencoder", first)
        loop.adam("critic", second, lr)
    else:
        loop.adam("autoencoder", of_autoencoder())
        loop.nimg += N
        loop.adam("critic", of_critic(), lr)
    loop.average("generator", 0.9)
    if number % 2:
        loop.adam("encoder", third if simultaneous else of_encoder())
        loop.average("encoder", 0.5 ** (2 * N / 50))
    loop.nimg = nimg + N


def alpha_gan(loop, number, x):
    e, g, c, d = (loop.nets[name] for name in ("encoder", "generator", "codes", "images"))
    near = (g(e(x)) - x).abs().mean((1, 2, 3))
    loop.adam("encoder", loop.gradients(softly(-c(e(x))) + near, "encoder"))
    loop.nimg += N
    again = g(e(x))
    loss = softly(-d(again)) + softly(-d(g(loop.latents("generator")))) + (again - x).abs().mean((1, 2, 3))
    loop.adam("generator", loop.gradients(loss, "generator"))
    loop.average("generator", 0.5 ** (N / 50))
    if number % 3 == 0:
        loss = softly(-c(loop.latents("codes"))) + softly(c(e(x).detach()))
        loop.adam("codes", loop.gradients(loss, "codes"))
    if number % 2:
        made = g(loop.latents("images")).detach()
        loss = softly(-d(x)) + softly(d(g(e(x)).detach())) + softly(d(made))
        loop.adam("images", loop.gradients(loss, "images"))


def remembering(loop, number, x):
    g, c = loop.nets["generator"], loop.nets["critic"]
    if not number:
        loop.pool, loop.strength, loop.square = torch.zeros(8, 1, 8, 8, dtype=torch.float64), 0.1, {}
    draw = Noise(SEED, loop.nimg, 0, GROUP, dtype=torch.float64)
    made, noise = g(loop.latents("critic")).detach(), draw.normal("critic noise", N, 1, 8, 8)
    slots = Noise(SEED, loop.nimg, 0, dtype=torch.float64).uniform("slots", 8).argsort()[: N // 2]
    fake = made.clone()
    fake[::2], loop.pool[slots] = loop.pool[slots], made[::2]
    at_real = c(x + loop.strength * noise)
    loss = softly(-at_real) + softly(c(fake + loop.strength * noise))
    parameters, gradients = loop.gradients(loss, "critic")
    loop.skipped = getattr(loop, "skipped", 0) + (loss.mean() < 1.3862).item()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if loss.mean() >= 1.3862:
            loop.square[parameter] = 0.99 * loop.square.get(parameter, 0) + 0.01 * gradient**2
            parameter.data -= 1e-2 * gradient / (loop.square[parameter].sqrt() + 1e-8)
        parameter.data.clamp_(-0.3, 0.3)
    loop.strength = max(0.0, loop.strength + 0.01 * at_real.sign().mean().item())
    loop.nimg += N
    noise = Noise(SEED, loop.nimg, 0, GROUP, dtype=torch.float64).normal("generator noise", 2 * N, 1, 8, 8)
    loss = softly(-c(g(loop.latents("generator", 2 * N)) + loop.strength * noise))
    loop.adam("generator", loop.gradients(loss, "generator"))
    loop.average("generator", 0.5 ** (N / 50))


LOOPS = {
    "BiGAN": bigan,
    "autoencoder": autoencoder,
    "autoencoder, simultaneous": partial(autoencoder, simultaneous=True),
    "alpha-GAN": alpha_gan,
    "remembering": remembering,
}
EVERY = pytest.mark.parametrize("name", LOOPS)


@EVERY
def test_ten_rounds_equal_a_loop_written_by_hand(name):
    game = made(name)
    loop = ByHand(game)
    before = {at: p.clone() for at, p in loop.weights().items()}
    for number, (x, labels) in enumerate(reals(10)):
        LOOPS[name](loop, number, x)
        game.training_step((x, labels), number)
    ours, theirs = dict(game.named_parameters()), loop.weights()
    assert ours.keys() == theirs.keys() and game.clock.nimg == loop.nimg == 10 * N
    assert max((ours[at] - theirs[at]).abs().max().item() for at in ours) < 1e-10
    assert all(not torch.equal(before[at], ours[at]) for at in ours)  # every network moves
    if name == "remembering":
        assert game.strength.item() == pytest.approx(loop.strength, abs=1e-12) and 0 < loop.strength != 0.1
        assert torch.allclose(game.pool, loop.pool, rtol=1e-12) and 0 < loop.skipped < 10
        assert game.statistics.read()["critic/skipped"] == pytest.approx(loop.skipped / 10)


def test_a_player_may_step_by_a_function_of_its_steps():
    game = play(made("alpha-GAN"), reals(10))
    assert game.clock.steps == {"encoder": 10, "generator": 10, "codes": 4, "images": 5}
    assert game.clock.waited == {"encoder": 0, "generator": 0, "codes": 0, "images": 0}
    assert games.AlphaGAN(image=IMAGE).players["codes"].mean_period() == 3 and game.cycle() == 6


# --- the engine's promises, for every game


@EVERY
def test_a_killed_game_goes_on_as_if_nothing_had_been(name):
    whole, batches = made(name), list(reals(9))
    play(whole, batches[:5])
    checkpoint = {"optimizer_states": [copy.deepcopy(s.optimizer.state_dict()) for s in whole.seats.values()]}
    whole.on_save_checkpoint(checkpoint)
    saved = copy.deepcopy({**checkpoint, "state_dict": whole.state_dict()})
    play(whole, batches[5:])
    rest = made(name)
    rest.load_state_dict(saved["state_dict"])
    rest.on_load_checkpoint(saved)
    for seat, state in zip(rest.seats.values(), saved["optimizer_states"], strict=True):
        seat.optimizer.load_state_dict(state)
    play(rest, batches[5:])
    assert rest.clock == whole.clock
    assert tiny.distance(rest.state_dict(), whole.state_dict()) == 0


@pytest.mark.parametrize("name", [name for name in LOOPS if name != "remembering"])
def test_micro_batches_change_nothing(name):
    whole, cut = (play(made(name, micro_batch=size), reals(6)) for size in (None, 4))
    assert tiny.distance(whole.state_dict(), cut.state_dict()) < 1e-12
    assert whole.statistics.read() == pytest.approx(cut.statistics.read(), rel=1e-12)


@EVERY
def test_a_step_that_is_not_finite_is_masked_for_its_player_alone(name):
    game, batches = made(name), list(reals(4))
    play(game, batches[:3])
    game.statistics.read()
    for seat in game.seats.values():
        seat.read_culprits()
    leader, *others = game.players
    before = {at: p.clone() for at, p in game.seats[leader].network.named_parameters()}
    moments = copy.deepcopy(game.seats[leader].optimizer.state_dict()["state"])
    game.loss[leader] = lambda batch, loss=game.loss[leader]: broken(loss(batch))
    game.step(leader, {"real": batches[3][0], "labels": batches[3][1]})
    assert all(torch.equal(before[at], p) for at, p in game.seats[leader].network.named_parameters())
    after = game.seats[leader].optimizer.state_dict()["state"]
    assert all(torch.equal(v, after[i][at]) for i, state in moments.items() for at, v in state.items())
    assert game.statistics.read()[f"{leader}/not_finite"] == 1 and game.seats[leader].read_culprits()
    assert not any(game.seats[other].read_culprits() for other in others)


def broken(loss):
    terms, *beside = loss if isinstance(loss, tuple) else (loss,)
    terms = {at: values / 0 for at, values in terms.items()}
    return (terms, *beside) if beside else terms


@EVERY
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_every_precision_plays(name, precision):
    game = play(made(name, precision=precision), reals(6, dtype=torch.float32))
    found = game.statistics.read()
    assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in game.parameters())
    assert {at for at in found if at.endswith("/loss")} == {f"{player}/loss" for player in game.players}
    full = play(made(name), reals(6)).statistics.read()
    for at in found:
        if at.endswith("/loss"):
            assert found[at] == pytest.approx(full[at], abs=0.05), at


@EVERY
def test_the_clock_of_the_first_edition_is_taken(name):
    game = play(made(name), reals(7))
    state = {"nimg": game.clock.nimg, "moves": dict(game.clock.steps)}
    again = made(name)
    again.on_load_checkpoint({"optimizer_states": [], "ganlab": {"clock": state, "attempt": 0}})
    assert again.clock.steps == game.clock.steps and again.clock.nimg == 7 * N
    if name != "alpha-GAN":  # whose codes step by a function, which the first edition had not
        assert again.clock == game.clock


# --- what the adversarial game of two gains


def test_the_generators_step_may_see_reals():
    """Relativistic pairs (R3GAN): ten rounds against autograd, with both penalties."""
    regularizers = {"r1": R1(weight=0.5)}
    game = tiny.game(objective=RelativisticPaired(), regularizers=regularizers)
    plain = tiny.game(objective=RelativisticPaired(), regularizers=regularizers)
    game.configure_optimizers()
    plain.configure_optimizers()
    for real, labels in tiny.batches(3, 4):
        batch = game.batch("generator", {"real": real, "labels": labels})
        loss = game.generator_loss(batch)["loss"]
        fake = game.discriminator(game.generator(batch.latents, batch.fake_labels), batch.fake_labels)
        assert torch.allclose(loss, softplus(game.discriminator(real, labels) - fake), rtol=1e-12)
        game.training_step((real, labels), 0)
    with pytest.raises(
        UserError, match=r"model.generator_batch: 2.0, but its loss compares samples with reals; write 1"
    ):
        tiny.game(objective=RelativisticPaired(), generator_batch=2.0)


class OfTheGenerator(Regularizer):
    """Looks at inputs, output, gradient and the network itself."""

    at = "latents"

    def penalty(self, point: Point):
        near = point.network(point.inputs[0] + 0.1, *point.inputs[1:])
        return (near - point.output).square().flatten(1).sum(1) + point.gradient.square().sum(1)


def test_a_generator_may_have_penalties():
    game = tiny.game(generator_regularizers={"near": OfTheGenerator(weight=3.0, every=2)})
    game.configure_optimizers()
    seen = []
    for number, (real, labels) in enumerate(tiny.batches(4, 4)):
        batch = game.batch("generator", {"real": real, "labels": labels})
        terms = game.generator_loss(batch)
        seen.append("near" in terms)
        if number == 0:
            z, y = batch.latents.clone().requires_grad_(), batch.fake_labels
            images = game.generator(z, y)
            (slope,) = torch.autograd.grad(images.sum(), z)
            want = 6 * ((game.generator(z + 0.1, y) - images).square().flatten(1).sum(1) + slope.square().sum(1))
            assert torch.allclose(terms["near"], want, rtol=1e-10)
        game.training_step((real, labels), number)
    assert seen == [True, False, True, False]


def test_lazy_corrects_adam_as_stylegan2_does():
    make = lazy(partial(torch.optim.Adam, lr=0.002, betas=(0.0, 0.99)), every=16)
    assert make.keywords == {"lr": pytest.approx(0.002 * 16 / 17), "betas": (0.0, pytest.approx(0.99 ** (16 / 17)))}


def test_an_average_may_be_asked_for_of_any_network():
    game = made("BiGAN")
    assert game.average_names == {"generator": "ema", "encoder": "encoder_ema"}
    assert not game.encoder_ema.training and game.generator.training
    game.eval()
    game.configure_optimizers()
    assert game.generator.training and not game.ema.training


def test_a_player_with_a_batch_of_its_own_takes_no_reals():
    with pytest.raises(UserError, match=r"model.generator_batch: 2.0, but its loss"):
        Player("generator", optimizer=games.ADAM, batch=2.0)


# --- nobody asks for a player by its name


def test_only_the_adversarial_game_names_its_players():
    """Engine, callbacks, commands and self-check know players, never their names."""
    named = re.compile(r"""(["'])(?:generator|discriminator)\1|\.(?:generator|discriminator)\b""")
    rooms = ["engine", "callbacks", "commands", "experiment"]
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for room in rooms
        for path in sorted((REPOSITORY / "ganlab" / room).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if named.search(line) and not line.strip().startswith('"""')
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("path", "most"), [("models/adversarial.py", 150), ("models/dcgan.py", 60)])
def test_a_paper_stays_a_page(path, most):
    assert len((REPOSITORY / "ganlab" / path).read_text().splitlines()) <= most


def test_the_losses_of_the_two_player_game_fit_on_a_screen():
    lines = [
        inspect.getsource(getattr(GANModule, f"{name}_loss")).count("\n") for name in ("discriminator", "generator")
    ]
    assert sum(lines) <= 30
