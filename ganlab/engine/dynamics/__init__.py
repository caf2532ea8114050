"""Dynamics: how the players' gradients become their steps."""

from ganlab.engine.dynamics.base import Dynamics
from ganlab.engine.dynamics.extragradient import Extragradient
from ganlab.engine.dynamics.plain import Alternating, Simultaneous
from ganlab.engine.dynamics.second_order import Consensus, SymplecticAdjustment
from ganlab.engine.dynamics.unrolled import Unrolled

__all__ = [
    "Alternating",
    "Consensus",
    "Dynamics",
    "Extragradient",
    "Simultaneous",
    "SymplecticAdjustment",
    "Unrolled",
]
