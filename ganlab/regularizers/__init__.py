"""Terms added to a player's loss: penalties on a network's input gradient, on its output, or on its weights.

A class names the pass that it uses and computes the penalty from it. The player's loss makes each pass once, however
many penalties use it.
"""

from ganlab.regularizers.base import Point, Regularizer, input_gradient
from ganlab.regularizers.differences import FiniteDifferenceR1, FiniteDifferenceR2
from ganlab.regularizers.generators import JacobianClamping, ModeSeeking, PathLength
from ganlab.regularizers.gradients import (
    DRAGAN,
    R1,
    R2,
    GradientPenalty,
    JSRegularizer,
    LipschitzPenalty,
    ZeroCenteredPenalty,
)
from ganlab.regularizers.outputs import Consistency, Drift, LeCam
from ganlab.regularizers.weights import HistoricalAveraging, Orthogonal

__all__ = [
    "DRAGAN",
    "R1",
    "R2",
    "Consistency",
    "Drift",
    "FiniteDifferenceR1",
    "FiniteDifferenceR2",
    "GradientPenalty",
    "HistoricalAveraging",
    "JSRegularizer",
    "JacobianClamping",
    "LeCam",
    "LipschitzPenalty",
    "ModeSeeking",
    "Orthogonal",
    "PathLength",
    "Point",
    "Regularizer",
    "ZeroCenteredPenalty",
    "input_gradient",
]
