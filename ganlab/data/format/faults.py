"""Bad samples, which cannot be read: each is counted once, up to a limit."""

from dataclasses import dataclass
from threading import Lock

from ganlab.types import UserError

NAMED_AT_MOST = 20
"""Largest number of bad samples that a message names."""


@dataclass(frozen=True)
class BadSample:
    """One sample that does not match the index, and the reason."""

    sample: int
    shard: str
    key: str
    """The name of its file in the shard, if it can be read."""
    offset: int
    cause: str

    def __str__(self) -> str:
        return f"{self.shard}: {self.key} at byte {self.offset:,}: {self.cause}"


class BadSampleError(UserError):
    """One sample cannot be read, but others may be."""

    def __init__(self, bad: BadSample) -> None:
        super().__init__(f"{bad}; run `ganlab data check` on the dataset, and pack or copy it again")
        self.bad = bad


class Faults:
    """The bad samples of a dataset found by any thread; those of other processes are added with `add`.

    Args:
        allowed: largest number of bad samples.
    """

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.met: dict[int, BadSample] = {}
        self.lock = Lock()

    def add(self, *found: BadSample) -> None:
        """Count those not counted yet; UserError with a list if there are more than allowed."""
        with self.lock:
            for bad in found:
                self.met.setdefault(bad.sample, bad)
            if len(self.met) > self.allowed:
                raise UserError(self.too_many(f"more than the {self.allowed:,} that data.max_bad allows"))

    def all(self) -> list[BadSample]:
        """Return the bad samples found so far."""
        with self.lock:
            return list(self.met.values())

    def too_many(self, why: str) -> str:
        """List the bad samples as text."""
        lines = "".join(f"\n  {bad}" for bad in [*self.met.values()][-NAMED_AT_MOST:])
        return f"{len(self.met):,} bad samples, {why}:{lines}\nrun `ganlab data check`, and pack or copy the data again"
