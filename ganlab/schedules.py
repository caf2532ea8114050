"""Scalars as pure functions of the images seen."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from ganlab.types import UserError


@runtime_checkable  # so that `ganlab.experiment.parts` can tell who is one
class Schedule(Protocol):
    """A callable that gives a scalar for `nimg` images seen."""

    def __call__(self, nimg: int) -> float:
        """Return the value at the start of a step made at `nimg`."""
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
    """None is the end of the run."""
    from_nimg: int = 0
    start: float = 1.0
    end: float = 0.0
    total_nimg: int | None = None
    """Images of the whole run, which supplies it; None where nobody knows, and then `until_nimg` must be given."""

    def __post_init__(self) -> None:
        if self.last is not None and self.last <= self.from_nimg:
            raise UserError(f"until_nimg: {self.last} is not after from_nimg, {self.from_nimg}")

    @property
    def last(self) -> int | None:
        """Return the moment from which on the value is `end`."""
        return self.total_nimg if self.until_nimg is None else self.until_nimg

    def __call__(self, nimg: int) -> float:
        """Return the value on the line."""
        if self.last is None:
            raise UserError("until_nimg: null, and the length of the run is not known; write until_nimg")
        share = (nimg - self.from_nimg) / (self.last - self.from_nimg)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def ending(schedule: Schedule | None, total_nimg: int | None) -> Schedule | None:
    """Return a schedule that knows the length of the run, if it has no end of its own and nobody has told it yet."""
    if isinstance(schedule, Linear) and schedule.last is None:
        return replace(schedule, total_nimg=total_nimg)
    return schedule
