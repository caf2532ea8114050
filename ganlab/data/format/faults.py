"""Samples that cannot be read: each is counted once, and there may not be too many of them."""

from dataclasses import dataclass
from threading import Lock

from ganlab.types import UserError

NAMED_AT_MOST = 20
"""Bad samples that one message names."""


@dataclass(frozen=True)
class BadSample:
    """One sample that is not what the index says, and why."""

    sample: int
    shard: str
    key: str
    """The name of its file in the shard, as far as it can be read."""
    offset: int
    cause: str

    def __str__(self) -> str:
        return f"{self.shard}: {self.key} at byte {self.offset:,}: {self.cause}"


class BadSampleError(UserError):
    """A sample cannot be read; others can."""

    def __init__(self, bad: BadSample) -> None:
        super().__init__(f"{bad}; run `ganlab data check` on the dataset, and pack or copy it anew")
        self.bad = bad


class Faults:
    """The bad samples of a dataset that have been met, by any thread; other processes' are told to it.

    Args:
        allowed: how many there may be.
    """

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.met: dict[int, BadSample] = {}
        self.lock = Lock()

    def add(self, *found: BadSample) -> None:
        """Count those not yet counted; UserError, with their list, past the number that is allowed."""
        with self.lock:
            for bad in found:
                self.met.setdefault(bad.sample, bad)
            if len(self.met) > self.allowed:
                raise UserError(self.too_many(f"more than the {self.allowed:,} that data.max_bad allows"))

    def all(self) -> list[BadSample]:
        """Return what has been met so far."""
        with self.lock:
            return list(self.met.values())

    def too_many(self, why: str) -> str:
        """Say what has been met."""
        lines = "".join(f"\n  {bad}" for bad in [*self.met.values()][-NAMED_AT_MOST:])
        return f"{len(self.met):,} bad samples, {why}:{lines}\nrun `ganlab data check`, and pack or copy the data anew"
