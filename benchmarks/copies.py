"""Many seeds of one small game at once: the networks of each seed side by side, none of which sees another's."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ganlab.engine.runtime import Runtime
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.experiment.parts import build
from ganlab.models import GANModule
from ganlab.objectives import Objective
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec

CONFIGS = Path(__file__).parents[1] / "configs"


class Copies(nn.Module):
    """Networks of one class, each with its own weights."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        weights, _ = stack_module_state(list(networks))
        self.names = list(weights)
        self.weights = nn.ParameterList(weights.values())
        self.one = [copy.deepcopy(networks[0]).to("meta")]  # in a list, so that its weights are not this module's

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """[n, copies, ...] to [n, copies, ...]."""
        run = vmap(
            lambda *given: functional_call(
                self.one[0], dict(zip(self.names, given[1:], strict=True)), (given[0], labels)
            ),
            in_dims=(1, *[0] * len(self.names)),
            out_dims=1,
        )
        return run(inputs, *self.weights)


class Generators(Copies):
    """A generator of each seed: one coordinate after the other."""

    classes = 0

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__(networks)
        self.seeds, self.latent = len(networks), len(networks) * networks[0].latent

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """[n, seeds * latent] to [n, seeds * coordinates, 1, 1]."""
        return super().forward(latents.unflatten(1, (self.seeds, -1)), labels).flatten(1, 2)


class Discriminators(Copies):
    """A discriminator of each seed."""

    classes = 0

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__(networks)
        self.seeds = len(networks)

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """[n, seeds * coordinates, 1, 1] to logits [n, seeds]."""
        return super().forward(points.unflatten(1, (self.seeds, -1)), labels)


@dataclass(frozen=True)
class Together(Objective):
    """The sum of all seeds' losses, whose gradients are those of each alone."""

    one: Objective

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.one.discriminator(real, fake).sum(1)

    def generator(self, fake: Tensor) -> Tensor:
        return self.one.generator(fake).sum(1)


def many(config: str, seeds: int, seed: int, **changes: object) -> tuple[GANModule, ImageSpec]:
    """The game of a toy's config for many seeds at once, whose points follow each other as channels; its own image."""
    found = load(CONFIGS / config)
    model, image = build_model(found), found.data.image
    networks = {}
    for name, kind in (("generator", Generators), ("discriminator", Discriminators)):
        made = []
        for number in range(seeds):
            seed_everything(seed * seeds + number)
            made.append(build(found.model[name], nn.Module, image=image))
        networks[name] = kind(made)
    game = GANModule(
        image=ImageSpec(1, 1, seeds * image.channels),
        **networks,
        objective=Together(model.objective),
        optimizers={name: player.optimizer for name, player in model.players.items()},
        dynamics=changes.get("dynamics", model.dynamics),
        runtime=Runtime(seed=seed, group=found.train.group),
    )
    game.configure_optimizers()
    return game, image
