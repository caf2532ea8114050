"""Passes through a network with the penalties on them: the only place that takes input gradients."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from ganlab.engine.batch import Batch
from ganlab.regularizers import Point, input_gradient
from ganlab.types import PerSample


def judge(
    score: Callable[..., Tensor], points: Mapping[str, tuple[Tensor, ...]], batch: Batch
) -> tuple[dict[str, PerSample], dict[str, Tensor]]:
    """Make one pass per point (a name and its inputs); return the terms of the due penalties, and the outputs.

    `score(*inputs)` runs a network in the run's precision, `score(*inputs, full=True)` in full precision. A pass whose
    gradient a due penalty needs is made in full precision and returns the gradient too.
    """
    terms, outputs = {}, {}
    for at, inputs in points.items():
        here = {name: penalty for name, penalty in batch.due.items() if penalty.at == at}
        gradient: Tensor | None = None
        network = score
        if any(penalty.gradient for penalty in here.values()):
            network = partial(score, full=True)
            gradient, outputs[at] = input_gradient(network, *inputs)
        else:
            outputs[at] = score(*inputs)
        point = Point(inputs, outputs[at], gradient, network)
        for name, penalty in here.items():
            terms[name] = batch.factor(name) * penalty.penalty(point)
    return terms, outputs
