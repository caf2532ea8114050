"""Dynamics: how the players' gradients become their steps."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable  # so that a config can tell who is one
class Dynamics(Protocol):
    """What a round is."""

    def play(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Let the players whose turn it is in a `Game` step, given this rank's share of the reals."""
        ...


class Alternating(Dynamics):
    """One after the other, each at the weights that the one before it has left."""

    def play(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Step, one by one."""
        for name in names:
            game.step(name, reals)


class Simultaneous(Dynamics):
    """All from the same weights: every gradient is there before the first optimizer steps."""

    def play(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Find all gradients, then step."""
        found, gradients = {}, {}
        with game.whole():
            for name in names:
                found[name] = game.differentiate(name, game.batch(name, reals))
                gradients[name] = game.seats[name].take_gradients()  # two players may move the same network
        for name in names:
            game.seats[name].put_gradients(gradients[name])
            game.conclude(name, {**found[name], **game.update(name, found[name])}, reals)
