"""Nobody waits for the dead: a rank that keeps the others waiting is named, and the job ends.

A collective that somebody is missing from fails or hangs, and neither gloo nor NCCL says who is missing. So each rank
shows in the job's store a count of beats, which a thread of its own makes (it stands still when the process is killed
or stopped, or its host is gone), and the number of collectives that it has entered. Whoever has entered fewest keeps
the others waiting, however alive its thread (a loader that hangs); those who wait in a collective are ahead, and never
blamed. Rank 0 judges, the others read its verdict and watch rank 0, with whose process the store may die.
"""

import faulthandler
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore

from ganlab import distributed

LOST = 3
"""Beats that may be missed once a collective has failed: then somebody is gone, and the question is only who."""


@dataclass(frozen=True)
class Beat:
    """A sign of life."""

    host: str
    count: int
    collectives: int
    failed: bool = False
    """One of this rank's collectives has failed."""

    def to_text(self) -> str:
        """Write it for the store."""
        return json.dumps([self.host, self.count, self.collectives, self.failed])

    @classmethod
    def from_text(cls, text: str | bytes) -> "Beat":
        """Read what `to_text` wrote."""
        return cls(*json.loads(text))


class Watch:
    """What one observer saw of the ranks' beats, and when, by its own clock: hosts' clocks differ.

    Args:
        timeout: seconds after which a silent or a stuck rank is named.
        interval: seconds between two beats.
        sees_all: who is stuck can only be told by an observer of all ranks.
    """

    def __init__(self, timeout: float, interval: float, *, sees_all: bool) -> None:
        self.timeout, self.interval, self.sees_all = timeout, interval, sees_all
        self.beats: dict[int, Beat] = {}
        self.heard: dict[int, float] = {}
        self.moved: dict[int, float] = {}

    def see(self, beats: Mapping[int, Beat], now: float) -> None:
        """Note what has changed."""
        for rank, beat in beats.items():
            before = self.beats.get(rank)
            if before is None or before.count != beat.count:
                self.heard[rank] = now
            if before is None or before.collectives != beat.collectives:
                self.moved[rank] = now
            self.beats[rank] = beat

    def verdict(self, now: float) -> tuple[int, str] | None:
        """Return the rank that keeps the others waiting, and what to tell a person; None while all is well."""
        beats = dict(self.beats)  # another thread may be adding to it
        failed = any(beat.failed for beat in beats.values())
        patience = min(self.timeout, LOST * self.interval) if failed else self.timeout
        for rank, beat in beats.items():
            if (silent := now - self.heard[rank]) > patience:
                return rank, (
                    f"rank {rank} on {beat.host} has given no sign of life for {silent:.1f} s: its process was killed "
                    f"or stopped, or its host is gone (machine.timeout_seconds: {self.timeout:g})"
                )
        counts = [beat.collectives for beat in beats.values()]
        for rank, beat in beats.items() if self.sees_all else ():
            stuck = now - self.moved[rank]
            if beat.collectives == min(counts) < max(counts) and stuck > self.timeout:
                return rank, (
                    f"rank {rank} on {beat.host} has kept the others waiting for {stuck:.1f} s: its process lives and "
                    f"does not come to the next reduction (machine.timeout_seconds: {self.timeout:g})"
                )
        return None


class Heartbeat:
    """Beats and watches while it is entered, and ends this process with exit code 1 when a rank is missing.

    With one process it does nothing. With several the process group must be up.

    The main thread may be blocked in a collective, so the end is `os._exit`, after one message.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout, self.interval = timeout, min(1.0, timeout / 10)
        self.stopped = threading.Event()
        self.failed = False
        self.exchanging: threading.Thread | None = None

    def __enter__(self) -> None:
        """Begin."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        # A connection of its own: the main thread may hold the other one, waiting.
        self.store = PrefixStore("heartbeat", distributed.store_of_job())
        self.watch = Watch(self.timeout, self.interval, sees_all=self.rank == 0)
        self.count = 0
        self.awake = 0.0
        self._beat()
        self._show()
        if self.rank == 0:
            self.store.set("verdict", "")
        distributed.barrier()  # now every rank's first beat is there to be read
        self._look()
        self.exchanging = threading.Thread(target=self._exchange, daemon=True)
        self.exchanging.start()
        threading.Thread(target=self._judge, daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End together: nobody watches when the first process leaves, or is already gone when another still beats.

        If a collective failed, wait until it is known who is missing; any other error speaks for itself.
        """
        if self.exchanging is None:
            return
        if error is None:
            distributed.barrier()
            self.stopped.set()
            distributed.barrier()
        elif distributed.is_lost(error):
            self.failed = True
            self.stopped.wait((2 * LOST + 2) * self.interval)  # the verdict ends the process
        self.stopped.set()

    def _beat(self) -> None:
        self.count += 1
        beat = Beat(socket.gethostname(), self.count, distributed.collectives_entered(), self.failed)
        self.watch.see({self.rank: beat}, self.awake)

    def _show(self) -> None:
        self.store.set(f"{self.rank}", self.watch.beats[self.rank].to_text())

    def _look(self) -> None:
        others = range(1, self.world_size) if self.rank == 0 else [0]
        texts = self.store.multi_get([f"{rank}" for rank in others])
        self.watch.see(dict(zip(others, map(Beat.from_text, texts), strict=True)), self.awake)

    def _exchange(self) -> None:
        """Show own beats and read the others'. Where rank 0 is stopped this blocks: `_judge` has another thread."""
        try:
            while not self.stopped.wait(self.interval):
                self._show()
                self._look()
                if self.rank and (verdict := self.store.get("verdict")):
                    self._end(*json.loads(verdict))
        except dist.DistError:
            if not self.stopped.wait(self.interval):
                self._end(0, f"rank 0 on {self.watch.beats[0].host} is gone, and with it the job's store")

    def _judge(self) -> None:
        before = time.monotonic()
        while not self.stopped.wait(self.interval):
            now = time.monotonic()
            # Only time awake counts: a job that was suspended and goes on must not find everybody silent.
            self.awake += min(now - before, 2 * self.interval)
            before = now
            self._beat()
            verdict = self.watch.verdict(self.awake)
            if verdict and self.rank == 0:
                self.store.set("verdict", json.dumps(verdict))
            if verdict:
                self._end(*verdict)

    def _end(self, rank: int, text: str) -> NoReturn:
        print(f"ganlab: {text}; rank {self.rank} ends here", file=sys.stderr, flush=True)
        if rank == self.rank:
            faulthandler.dump_traceback()  # where it hangs
        if self.rank == 0:
            time.sleep(LOST * self.interval)  # the others read the verdict first: the store dies with this process
        os._exit(1)
