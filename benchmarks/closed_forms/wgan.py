"""WGAN's weight clipping where everything is known: a critic w x on N(0, 1) against N(2, 1).

The best clipped critic has w = -c, and its objective is c times the distance of the means.
"""

from collections.abc import Iterator
from functools import partial

import torch
from rows import Row
from torch import Tensor, nn
from torch.optim import RMSprop

from ganlab.constraints import WeightClip
from ganlab.engine.runtime import Runtime
from ganlab.models import GANModule
from ganlab.objectives import Wasserstein
from ganlab.schedules import CriticSteps
from ganlab.types import ImageSpec

BATCH, CLIP = 64, 0.01


class Shifted(nn.Module):
    """N(shift, 1)."""

    latent, classes = 1, 0

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return (latents + self.shift)[:, :, None, None]


class Slope(nn.Module):
    """w x."""

    classes = 0

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        return self.slope * points.flatten()


def rows(seed: int) -> Iterator[Row]:
    rmsprop = partial(RMSprop, lr=5e-5)
    game = GANModule(
        image=ImageSpec(1, 1, 1),
        generator=Shifted(),
        discriminator=Slope(),
        objective=Wasserstein(),
        optimizers={"generator": rmsprop, "discriminator": rmsprop},
        constraints={"clip": WeightClip(bound=CLIP)},
        discriminator_steps=CriticSteps(),
        runtime=Runtime(seed=seed),
    )
    game.configure_optimizers()
    draw, none = torch.Generator().manual_seed(seed), torch.full((BATCH,), -1)
    largest, critic_steps = 0.0, {}
    while game.clock.steps["generator"] < 501:
        game.training_step((torch.randn(BATCH, 1, 1, 1, generator=draw), none), 0)
        critic_steps[game.clock.steps["generator"]] = game.clock.steps["discriminator"]
        largest = max(largest, game.discriminator.slope.abs().item() / CLIP)
        if game.clock.steps["discriminator"] == 2500:
            yield from against_the_best_critic(game, draw)
    for made, wanted in ((29, 2525), (500, 4975)):
        found = critic_steps[made] + 1  # the generator steps in the round of the last one
        yield Row("WGAN", f"critic steps before step {made + 1} of the generator", found, f"{wanted}", found == wanted)
    yield Row("WGAN", "largest weight after any step, in clips", largest, "1", abs(largest - 1) < 1e-6)


def against_the_best_critic(game: GANModule, draw: torch.Generator) -> Iterator[Row]:
    """The critic in front of what the generator draws now."""
    slope, shift = game.discriminator.slope.item(), game.generator.shift.item()
    yield Row("WGAN", "the critic's slope after 2,500 steps", slope, f"{-CLIP}", abs(slope + CLIP) < 1e-8)
    many, none = 100_000, torch.full((100_000,), -1)
    with torch.no_grad():
        real = game.discriminator(torch.randn(many, 1, 1, 1, generator=draw), none).mean()
        fake = game.discriminator(game.generator(torch.randn(many, 1, generator=draw), none), none).mean()
    value = (real - fake).item() / (CLIP * shift)
    yield Row("WGAN", "its objective / (clip * distance of the means)", value, "1 to 1 %", abs(value - 1) < 0.01)
