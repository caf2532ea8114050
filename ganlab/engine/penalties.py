"""Passes through a network with the penalties on them: the only place that takes input gradients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ganlab.engine.batch import Batch
from ganlab.regularizers import Point, input_gradient
from ganlab.types import PerSample


def judge(
    score: Callable[..., Tensor],
    points: Mapping[str, tuple[Any, ...]],
    batch: Batch,
    slope: Callable[..., tuple[Tensor, Tensor]] | None = None,
) -> tuple[dict[str, PerSample], dict[str, Tensor]]:
    """Make one pass per point (a name and its inputs); return the terms of the due penalties, and the outputs.

    `score(*inputs)` runs a network in the run's precision, `score(*inputs, full=True)` in full precision. A pass whose
    gradient a due penalty needs is made in full precision and returns the gradient too; or `slope(*inputs)` returns
    gradient and output, unless a penalty makes passes of its own. The outputs are by point; beside them is what
    penalties record, under their names for it.
    """
    terms: dict[str, PerSample] = {}
    outputs: dict[str, Tensor] = {}
    for at, inputs in points.items():
        here = {name: penalty for name, penalty in batch.due.items() if at in penalty.at}
        gradient: Tensor | None = None
        network = partial(score, full=True) if any(p.gradient or p.full for p in here.values()) else score
        if any(penalty.gradient for penalty in here.values()):
            given = slope if not any(penalty.full for penalty in here.values()) else None
            gradient, outputs[at] = (given or partial(input_gradient, network))(*inputs)
        else:
            outputs[at] = network(*inputs)
        for name in here:
            point = Point(inputs, outputs[at], gradient, network, at)
            values, recorded = penalize(name, point, batch)
            terms[name] = terms[name] + values if name in terms else values
            outputs |= recorded
    return terms, outputs


def penalize(name: str, point: Point, batch: Batch) -> tuple[PerSample, Mapping[str, PerSample]]:
    """Return a due penalty's term at a point, and what it records."""
    noise = batch[noise_of(name)] if batch.due[name].noise else None
    found = batch.due[name].penalty(point._replace(noise=noise, memory=batch.memory.get(name)))
    values, recorded = found if isinstance(found, tuple) else (found, {})
    return batch.factor(name) * values, recorded


def noise_of(name: str) -> str:
    """Return the name, among a batch's tensors, of the noise that a penalty draws."""
    return f"{name} noise"


ON_WEIGHTS = ("weights",)
"""`at` of penalties on a player's weights."""


@dataclass(frozen=True)
class WithWeights:
    """A player's loss with the due penalties on its weights. (A closure would not follow a copy of the game.)"""

    loss: Callable[[Batch], Any]
    weights: Callable[[], Sequence[Tensor]]

    def complete(self, batch: Batch) -> Any:
        """Return the loss; a penalty on weights adds the same number to every sample."""
        terms, *beside = found if isinstance(found := self.loss(batch), tuple) else (found,)
        n = len(next(iter(terms.values())))
        for name in [name for name, penalty in batch.due.items() if penalty.at == ON_WEIGHTS]:
            held = tuple(self.weights())
            values, _ = penalize(name, Point(held, held[0], None, self.loss, "weights"), batch)
            terms = {**terms, name: values.expand(n)}
        return (terms, *beside) if beside else terms
