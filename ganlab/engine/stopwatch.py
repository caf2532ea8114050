"""What the time goes to, by name."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Seconds of each of `names`; what is timed inside of something else is not counted twice.

    On a GPU they are its own, from event to event: waiting for data is the time for which it had nothing to do, and
    nothing waits for a figure until they are all read, once a tick. Before somebody starts it, nothing is kept.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.device: torch.device | None = None
        self.spans: list[tuple[str, str | None, float | torch.cuda.Event, float | torch.cuda.Event]] = []
        self.inside: list[str] = []

    def start(self, device: torch.device) -> None:
        """Begin to time what is done on a device."""
        self.device, self.spans = device, []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what is done here."""
        if self.device is None:
            yield
            return
        start = self._now()
        outer = self.inside[-1] if self.inside else None
        self.inside.append(name)
        try:
            yield
        finally:
            self.inside.pop()
            self.spans.append((name, outer, start, self._now()))

    def read(self) -> dict[str, float]:
        """Return the seconds since the last call of what has ended; the device's work must be done by now."""
        seconds = dict.fromkeys(self.names, 0.0)
        for name, outer, start, end in self.spans:
            if isinstance(start, float) and isinstance(end, float):
                took = end - start
            else:
                took = start.elapsed_time(end) / 1e3  # type: ignore[union-attr, arg-type]
            seconds[name] += took
            if outer is not None:
                seconds[outer] -= took
        self.spans = []
        return seconds

    def _now(self) -> float | torch.cuda.Event:
        if self.device is None or self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
