"""What a metric is, and what it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ganlab.evaluation.side import Side


@dataclass(frozen=True)
class Value:
    """One value of a metric."""

    value: float
    standard_error: float | None = None
    """None if it is not cheap to compute."""
    floor: float | None = None
    """The same metric between two halves of the reals, the images of even and of odd number."""
    biased: bool = False
    """The images are too few for their dimensions."""


@dataclass(frozen=True)
class Metric:
    """A metric that can be chosen by name.

    `needs` are moments, features, logits, patches, pairs or values of both sides, and labels.
    """

    measure: Callable[[Side, Side], dict[str, Value]]
    """Fakes and reals to values by name."""
    needs: frozenset[str]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the metric: part of the protocol."""
    of: Literal["both", "fakes", "mixture", "discriminator"] = "both"
    """What it evaluates: both sides, only the fakes, fakes against the mixture that the reals are drawn from, or the
    discriminator by its features of reals."""
    fakes: int | None = None
    """Number of fakes that it takes, the first ones; None takes all."""
    reals: int | None = None
    """The same of reals."""
    tag: str = ""
    """What the names of its values say besides counts."""
