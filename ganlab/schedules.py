"""Scalars as pure functions of the images seen."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from ganlab.types import UserError


@runtime_checkable  # so that `ganlab.experiment.parts` can tell who is one
class Schedule(Protocol):
    """A callable that gives a scalar for `nimg` images seen."""

    def __call__(self, nimg: int) -> float:
        """Return the value at the start of a move made at `nimg`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The same value always."""

    value: float = 1.0

    def __call__(self, nimg: int) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """From `start` to `end` in a straight line between two moments; constant before and after."""

    until_nimg: int | None = None
    """None ends with the run."""
    from_nimg: int = 0
    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        if self.until_nimg is not None and self.until_nimg <= self.from_nimg:
            raise UserError(f"until_nimg: {self.until_nimg} is not after from_nimg, {self.from_nimg}")

    def __call__(self, nimg: int) -> float:
        """Return the value on the line."""
        if self.until_nimg is None:
            raise UserError("until_nimg: None ends with the run, whose length nobody has told: write it, or total_nimg")
        share = (nimg - self.from_nimg) / (self.until_nimg - self.from_nimg)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def ending(schedule: Schedule | None, total_nimg: int | None) -> Schedule | None:
    """Return a schedule that ends with the run, if it has no end of its own."""
    if isinstance(schedule, Linear) and schedule.until_nimg is None:
        return replace(schedule, until_nimg=total_nimg)
    return schedule
