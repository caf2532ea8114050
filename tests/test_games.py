"""Games of any number of players: what is left beside the promises that `test_papers.py` tests for every game."""

import inspect
import re
from functools import partial

import games
import pytest
import tiny
import torch
from by_hand import play
from papers import PAPERS
from repository import REPOSITORY
from torch.nn.functional import softplus

from ganlab.engine.optimizers import lazy
from ganlab.engine.player import Player
from ganlab.models import GANModule
from ganlab.objectives import RelativisticPaired
from ganlab.regularizers import R1, Point, Regularizer
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_player_may_step_by_a_function_of_its_steps():
    game = play(PAPERS["toy alpha-GAN"].made(), PAPERS["toy alpha-GAN"].batches(10))
    assert game.clock.steps == {"encoder": 10, "generator": 10, "codes": 4, "images": 5}
    assert game.clock.waited == {"encoder": 0, "generator": 0, "codes": 0, "images": 0}
    assert games.AlphaGAN(image=ImageSpec(8, 8, 1)).players["codes"].mean_period() == 3 and game.cycle() == 6


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
    game = PAPERS["toy BiGAN"].made()
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
