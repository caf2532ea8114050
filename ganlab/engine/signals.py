"""What all ranks agree on at the end of a round: a signal that asks to stop, and the end of the first minute."""

import os
import signal
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

from ganlab import distributed
from ganlab.stopping import heeded

POLL_SECONDS = 1.0
"""Target seconds between two polls of the other ranks' signals: a poll is a reduction and, on a GPU, a sync."""


EARLY = 60.0
"""Seconds after which a new run makes its first checkpoint and grid of samples, whatever their cadence in images."""


class Signals:
    """A context that handles the stopping signals, and keeps the time of a new run's first checkpoint.

    The handler only records the number: saving or communicating in a handler would hang. A second Ctrl-C ends the
    process; other signals come twice by themselves, as when torchrun passes on a Ctrl-C that all have seen.

    Args:
        is_new: the run starts from nothing, so that it has no checkpoint yet.
    """

    def __init__(self, is_new: bool = False) -> None:
        self.number = 0
        """The signal that this process received, or that the ranks agreed on; 0 for none."""
        self.early = False
        """The first checkpoint is due after this round: true once, on all ranks, by rank 0's clock."""
        self.waiting, self.start = is_new, time.monotonic()
        self.alone = distributed.world_size() == 1
        self.steps, self.every = 0, 1
        self.polled = time.monotonic()
        self.before: dict[signal.Signals, Any] = {}
        self.terminals: list[int] = []
        self.wakeup = -1

    def __enter__(self) -> None:
        """Install the handlers."""
        self.start = time.monotonic()
        self.terminals = [stream for stream in (1, 2) if os.isatty(stream)]
        self.before = {number: signal.signal(number, self._note) for number in heeded()}
        self.wakeup = signal.set_wakeup_fd(-1)  # after the handlers: no signal may be lost

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the previous handlers."""
        signal.set_wakeup_fd(self.wakeup)
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def agreed(self, device: torch.device) -> int:
        """Return the signal to stop for, 0 for none: the same on all ranks, which must call this after every round.

        The ranks poll every so many rounds, as many as the slowest one makes in a second.
        """
        self.early = False
        is_early = self.waiting and distributed.rank() == 0 and time.monotonic() - self.start >= EARLY
        if self.alone:
            self._agree_on(is_early)
            return self.number
        self.steps += 1
        if self.steps < self.every:
            return 0
        own = [self.number, time.monotonic() - self.polled, is_early]
        told = torch.tensor(own, dtype=torch.float64, device=device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        number, seconds, early = told.tolist()
        self._agree_on(bool(early))
        self.every = min(max(int(self.every * POLL_SECONDS / seconds), 1), 2 * self.every)
        self.steps, self.polled = 0, time.monotonic()
        return int(number)

    def _agree_on(self, early: bool) -> None:
        self.early, self.waiting = early, self.waiting and not early

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number == number == signal.SIGINT:
            os._exit(128 + number)
        self.number = self.number or number
        if number == signal.SIGHUP and self.terminals:  # writing to a terminal that is gone would be an error
            with Path(os.devnull).open("w") as nowhere:
                for stream in self.terminals:
                    os.dup2(nowhere.fileno(), stream)
