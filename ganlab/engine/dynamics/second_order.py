"""Dynamics that change the players' gradients by the Jacobian of their field."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ganlab.engine.batch import Batch
from ganlab.engine.dynamics.base import Dynamics
from ganlab.engine.dynamics.field import Field, one_batch, split
from ganlab.engine.dynamics.plain import step_all, timed
from ganlab.layers.spectral import iterate_power
from ganlab.types import UserError

Found = Mapping[str, Mapping[str, Tensor]]


class SecondOrder(Dynamics):
    """All players step at once, each by its part of one direction; base of such dynamics."""

    together: ClassVar[bool] = True
    differentiates: ClassVar[bool] = True

    @abstractmethod
    def direction(self, game: Any, batches: Mapping[str, Batch]) -> tuple[Tensor, Found]:
        """Return what takes the place of the field [d], and the terms of the players' losses."""

    def round(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Compute the direction, and give each optimizer its part as gradients."""
        with timed(game, names[0]):
            for network in game.networks.values():
                iterate_power(network)
            game.require_gradients(game.network_names)
            direction, found = self.direction(game, one_batch(game, names, reals))
        step_all(game, found, split(game, names, direction), reals)


@dataclass(frozen=True, kw_only=True)
class Consensus(SecondOrder):
    """xi + gamma J^T xi: both players also descend |xi|^2 / 2 (Mescheder et al. 2017, algorithm 1; gamma 10).

    Over a batch of b samples E|xi|^2 is |xi|^2 + tr Cov / b: the estimator is biased, and also shrinks the gradients'
    variance.

    Args:
        gamma: weight of the second term.
        independent_batches: estimate without that bias: descend xi_A . xi_B / 2 of the batch's even and odd groups,
            which are independent.
    """

    gamma: float = 10.0
    independent_batches: bool = False

    @property
    def halves(self) -> int:
        """Two independent ones, if asked for."""
        return 2 if self.independent_batches else 1

    def direction(self, game: Any, batches: Mapping[str, Batch]) -> tuple[Tensor, Found]:
        """xi + gamma J^T xi, or xi + gamma (J_A^T xi_B + J_B^T xi_A) / 2 with xi the mean of both."""
        if not self.independent_batches:
            field = Field(game, batches)
            return field.value + self.gamma * field.transposed(field.value), field.found
        pairs = {name: even_and_odd(batch, game.runtime.group) for name, batch in batches.items()}
        a, b = (Field(game, {name: pair[half] for name, pair in pairs.items()}) for half in range(2))
        found = {
            name: {at: torch.cat([values, b.found[name][at]]) for at, values in terms.items()}
            for name, terms in a.found.items()
        }
        pull = (a.transposed(b.value) + b.transposed(a.value)) / 2
        return (a.value + b.value) / 2 + self.gamma * pull, found


@dataclass(frozen=True, kw_only=True)
class SymplecticAdjustment(SecondOrder):
    """xi + weight A^T xi with A = (J - J^T) / 2, the part of J that turns (Balduzzi et al. 2018, algorithm 1).

    Args:
        weight: of the adjustment; their lambda.
        align: give it the sign that leads towards stable fixed points and away from others (section 3.5).
    """

    weight: float = 1.0
    align: bool = True

    def direction(self, game: Any, batches: Mapping[str, Batch]) -> tuple[Tensor, Found]:
        """xi + sign weight (J^T xi - J xi) / 2."""
        field = Field(game, batches)
        xi, pull = field.value, field.transposed(field.value)
        adjustment = (pull - field.times(xi)) / 2
        if self.align:
            adjustment *= torch.sign((xi @ pull) * (adjustment @ pull) / len(xi) + 0.1)
        return xi + self.weight * adjustment, field.found


def even_and_odd(batch: Batch, group: int) -> tuple[Batch, Batch]:
    """Return the even groups of a batch and the odd ones: the same samples on any number of ranks."""
    if (n := len(next(iter(batch.tensors.values())))) % (2 * group):
        raise UserError(
            f"model.dynamics: two independent batches of {n} samples per process; write a multiple of {2 * group}"
        )
    pairs = {at: tensor.unflatten(0, (-1, 2, group)) for at, tensor in batch.tensors.items()}
    even, odd = ({at: pair[:, half].flatten(0, 1) for at, pair in pairs.items()} for half in range(2))
    return replace(batch, tensors=even), replace(batch, tensors=odd)
