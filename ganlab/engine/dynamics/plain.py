"""The two plain dynamics: one player after the other, or all at once."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ganlab.engine.dynamics.base import Dynamics

Gradients = list[Tensor | None]
"""A player's gradients, one for each of its parameters."""


@dataclass(frozen=True)
class Alternating(Dynamics):
    """One player after the other, each at the weights that the one before it has left."""

    shards: ClassVar[bool] = True

    def round(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Make the steps one by one."""
        for name in names:
            game.step(name, reals)


@dataclass(frozen=True)
class Simultaneous(Dynamics):
    """All players from the same weights: every gradient is computed before the first optimizer steps."""

    shards: ClassVar[bool] = True

    def round(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Compute all gradients, then run the optimizers."""
        with game.whole():
            found, gradients = all_gradients(game, names, reals)
        step_all(game, found, gradients, reals)


def all_gradients(
    game: Any, names: Sequence[str], reals: Mapping[str, Tensor]
) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Gradients]]:
    """Compute the players' gradients at the same weights; return the terms of their losses, and the gradients."""
    found, gradients = {}, {}
    for name in names:
        with timed(game, name):
            found[name] = game.differentiate(name, game.batch(name, reals))
            gradients[name] = game.seats[name].take_gradients()  # two players may move the same network
    return found, gradients


def step_all(
    game: Any,
    found: Mapping[str, Mapping[str, Tensor]],
    gradients: Mapping[str, Gradients],
    reals: Mapping[str, Tensor],
) -> None:
    """Run the players' optimizers on their gradients, and conclude their steps."""
    for name, terms in found.items():
        with timed(game, name):
            game.seats[name].put_gradients(gradients[name])
            game.conclude(name, {**terms, **game.update(name, terms)}, reals)


def timed(game: Any, name: str) -> AbstractContextManager[None]:
    """Time the enclosed work as a player's."""
    watch: AbstractContextManager[None] = game.stopwatch(game.kind(name, game.clock.steps[name]))
    return watch
