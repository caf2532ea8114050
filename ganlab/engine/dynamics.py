"""Dynamics: how the players' gradients become their steps."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable  # so that a config can tell who is one
class Dynamics(Protocol):
    """How the players of a round step."""

    def round(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Make one step of each of the players `names` of a `Game`, given this rank's share of the reals."""
        ...


class Alternating(Dynamics):
    """One player after the other, each at the weights that the one before it has left."""

    def round(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Make the steps one by one."""
        for name in names:
            game.step(name, reals)


class Simultaneous(Dynamics):
    """All players from the same weights: every gradient is computed before the first optimizer steps."""

    def round(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Compute all gradients, then run the optimizers."""
        found, gradients = {}, {}
        with game.whole():
            for name in names:
                found[name] = game.differentiate(name, game.batch(name, reals))
                gradients[name] = game.seats[name].take_gradients()  # two players may move the same network
        for name in names:
            game.seats[name].put_gradients(gradients[name])
            game.conclude(name, {**found[name], **game.update(name, found[name])}, reals)
