"""Where the time of training goes, by name."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Seconds spent in each of `names`; nested times are not counted twice.

    On a GPU the times are between CUDA events: `data` is the time for which the GPU was idle, and the host syncs only
    when all times are read, once a tick. Before `start`, nothing is recorded.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.device: torch.device | None = None
        self.spans: list[tuple[str, str | None, float | torch.cuda.Event, float | torch.cuda.Event]] = []
        self.inside: list[str] = []

    def start(self, device: torch.device) -> None:
        """Start timing work on a device."""
        self.device, self.spans = device, []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the enclosed work under `name`."""
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
        """Return the seconds of finished spans since the last call; the device must have finished its work."""
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
