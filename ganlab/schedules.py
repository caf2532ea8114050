"""Schedules: scalars as pure functions of the images shown, and numbers of steps as functions of those made."""

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from ganlab.types import UserError


@runtime_checkable  # for `ganlab.experiment.parts`, which checks classes against it
class Schedule(Protocol):
    """A callable that returns a scalar for `nimg` images shown."""

    def __call__(self, nimg: int) -> float:
        """Return the value for a step that starts at `nimg`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """A constant value."""

    value: float = 1.0

    def __call__(self, nimg: int) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True, kw_only=True)
class OverWidth(Schedule):
    """`value` times `of_width / width`: a learning rate that was found at one width, for networks of another.

    Adam's moves of weights do not depend on their gradients' scale: what many of them feed moves as much more.
    """

    value: float
    width: int
    of_width: int = 768

    def __call__(self, nimg: int) -> float:
        """Return the value."""
        return self.value * self.of_width / self.width


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """Linear from `start` at `from_nimg` to `end` at `until_nimg`; constant before and after."""

    until_nimg: int | None = None
    """None is the end of the run."""
    from_nimg: int = 0
    start: float = 1.0
    end: float = 0.0
    total_nimg: int | None = None
    """Length of the whole run in images, supplied by the run; if None, `until_nimg` must be given."""

    def __post_init__(self) -> None:
        if self.last is not None and self.last <= self.from_nimg:
            raise UserError(f"until_nimg: {self.last} is not after from_nimg, {self.from_nimg}")

    @property
    def last(self) -> int | None:
        """The images shown from which on the value is `end`; None if unknown."""
        return self.total_nimg if self.until_nimg is None else self.until_nimg

    def __call__(self, nimg: int) -> float:
        """Return the value at `nimg`."""
        if self.last is None:
            raise UserError("until_nimg: null, and the length of the run is not known; write until_nimg")
        share = (nimg - self.from_nimg) / (self.last - self.from_nimg)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from `start` to `end`, which it reaches at `until_nimg`; constant from then on."""

    start: float
    end: float
    until_nimg: int

    def __post_init__(self) -> None:
        if self.until_nimg <= 0:
            raise UserError(f"until_nimg: {self.until_nimg}: must be more than 0")

    def __call__(self, nimg: int) -> float:
        """Return the value at `nimg`."""
        share = min(nimg / self.until_nimg, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """`start`, multiplied by `factor` for each `every_nimg` images shown, continuously; never below `least`."""

    factor: float
    every_nimg: int
    start: float = 1.0
    least: float = 0.0

    def __call__(self, nimg: int) -> float:
        """Return the value at `nimg`."""
        value: float = self.start * self.factor ** (nimg / self.every_nimg)
        return max(value, self.least)


@dataclass(frozen=True, kw_only=True)
class CriticSteps:
    """A critic's steps before each step of the generator: many while it is new, and again now and then.

    Arjovsky et al. 2017, whose code has these numbers: 5; 100 before the first 25 steps and before every 500th.
    """

    usual: int = 5
    many: int = 100
    first: int = 25
    every: int = 500

    def __call__(self, steps: int) -> int:
        """Return the critic's steps between the generator's `steps`-th step and its next one."""
        return self.many if steps < self.first or steps % self.every == 0 else self.usual


@dataclass(frozen=True, kw_only=True)
class OfTheRun(Schedule):
    """Base of schedules that depend on the share of the run that is over."""

    total_nimg: int | None = None
    """Length of the whole run in images, supplied by the run."""

    def share(self, nimg: int) -> float:
        """Return the share of the run, in [0, 1]."""
        if self.total_nimg is None:
            raise UserError("total_nimg: null, and the length of the run is not known; write total_nimg")
        return min(nimg / self.total_nimg, 1.0)


@dataclass(frozen=True, kw_only=True)
class InverseDecay(OfTheRun):
    """(1 + rate p) ** -power, at the share p of the run (Ganin et al. 2016, section 5.2.2)."""

    rate: float = 10.0
    power: float = 0.75

    def __call__(self, nimg: int) -> float:
        """Return the value at `nimg`."""
        value: float = (1 + self.rate * self.share(nimg)) ** -self.power
        return value


@dataclass(frozen=True, kw_only=True)
class Saturating(OfTheRun):
    """2 / (1 + exp(-rate p)) - 1, at the share p of the run: from 0 to nearly 1 (Ganin et al. 2016, section 5.2.2)."""

    rate: float = 10.0

    def __call__(self, nimg: int) -> float:
        """Return the value at `nimg`."""
        return math.tanh(self.rate * self.share(nimg) / 2)


def ending(schedule: Schedule | None, total_nimg: int | None) -> Schedule | None:
    """Set the length of the run in a schedule that has no end yet; return other schedules unchanged."""
    if isinstance(schedule, Linear | OfTheRun) and schedule.total_nimg is None:
        return replace(schedule, total_nimg=total_nimg)
    return schedule
