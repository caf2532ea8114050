"""Trackers: where metrics and pictures go beside the run's folder. All are fed from one place, and none fails a run."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

log = logging.getLogger(__name__)

Scalars = Mapping[str, int | float]
"""Values of a line by name, `nimg` perhaps among them."""


class Tracker(ABC):
    """One place that metrics go to. What it raises turns it off; nothing waits for it but `finish`."""

    NAME: ClassVar[str]
    """What messages call it."""

    def begin(self, rows: Sequence[Scalars]) -> None:  # noqa: B027 (most have nothing to begin)
        """Begin after the lines that the run has logged before, none for a new one."""

    @abstractmethod
    def log(self, nimg: int, values: Scalars) -> None:
        """Log scalars at `nimg`, which never decreases; those that are not finite are NaN or infinite."""

    def show(self, nimg: int, name: str, picture: Path) -> None:  # noqa: B027 (some have no pictures)
        """Log a PNG."""

    def finish(self) -> None:  # noqa: B027
        """Write the rest."""


class Trackers:
    """Feeds trackers on a thread of its own, in order, so that training never waits for them."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = list(trackers)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="trackers")

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Begin after a run's earlier lines of metrics."""
        numbers = [{name: v for name, v in row.items() if isinstance(v, int | float)} for row in rows]
        self.pool.submit(self._each, lambda tracker: tracker.begin(numbers))

    def log(self, nimg: int, values: Scalars) -> None:
        """Log scalars at `nimg`."""
        self.pool.submit(self._each, lambda tracker: tracker.log(nimg, values))

    def show(self, nimg: int, name: str, picture: Future[Path]) -> None:
        """Log a picture that is being written; nothing if that fails, of which its writer tells."""
        self.pool.submit(self._show, nimg, name, picture)

    def finish(self) -> None:
        """Log the rest, and close all."""
        self.pool.submit(self._each, lambda tracker: tracker.finish())
        self.pool.shutdown()

    def _show(self, nimg: int, name: str, picture: Future[Path]) -> None:
        if picture.exception() is None:
            self._each(lambda tracker: tracker.show(nimg, name, picture.result()))

    def _each(self, do: Any) -> None:
        for tracker in list(self.trackers):
            try:
                do(tracker)
            except Exception as error:  # the run continues whatever a tracker raises
                log.warning("%s is off from here on: %s", tracker.NAME, " ".join(str(error).split()))
                self.trackers.remove(tracker)
