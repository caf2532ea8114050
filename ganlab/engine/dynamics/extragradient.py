"""Extragradient: a look ahead, then a step from where it began with the gradient found there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ganlab.engine.dynamics.base import Dynamics
from ganlab.engine.dynamics.plain import Gradients, all_gradients, step_all

PAST = "past"
"""Name of the remembered gradient in an optimizer's state of a parameter, which is saved with the run."""


@dataclass(frozen=True, kw_only=True)
class Extragradient(Dynamics):
    """w~ = w - h xi(w), then w - h xi(w~) (Korpelevich 1976; Gidel et al. 2019, eq. 11 and 12).

    Both half steps go through the players' optimizers, whose moments advance twice, as in ExtraAdam (Gidel et al. 2019,
    algorithm 4). Both gradients are of the round's batch; the paper draws another one for the second.

    Args:
        past: look ahead by the last round's gradient at w~ instead of a new one, which halves the cost (Gidel et al.
            2019, section 3.3). The first round is then an ordinary step.
    """

    past: bool = False

    together: ClassVar[bool] = True

    def round(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Look ahead, differentiate there, and step from where the round began."""
        seats = [game.seats[name] for name in names]
        start = [weight.detach().clone() for seat in seats for weight in seat.parameters]
        ahead = remembered(game, names) if self.past else all_gradients(game, names, reals)[1]
        for name, own in ahead.items():
            game.seats[name].put_gradients(own)
            game.seats[name].update(counted=False)
        found, gradients = all_gradients(game, names, reals)
        with torch.no_grad():
            torch._foreach_copy_([weight for seat in seats for weight in seat.parameters], start)
        step_all(game, found, gradients, reals)
        if self.past:
            remember(game, gradients)


def remembered(game: Any, names: Sequence[str]) -> dict[str, Gradients]:
    """Return the gradients of the last round's look ahead; none before the first."""
    found: dict[str, Gradients] = {}
    for name in names:
        seat = game.seats[name]
        past = [seat.optimizer.state.get(weight, {}).get(PAST) for weight in seat.parameters]
        if any(gradient is not None for gradient in past):
            found[name] = past
    return found


def remember(game: Any, gradients: Mapping[str, Gradients]) -> None:
    """Keep gradients in the optimizers' states, which must not be empty: an optimizer begins its own only then."""
    for name, own in gradients.items():
        seat = game.seats[name]
        for weight, gradient in zip(seat.parameters, own, strict=True):
            if gradient is not None:
                seat.optimizer.state[weight][PAST] = gradient.clone()
