"""The heartbeat: it names a rank that keeps the others waiting, and ends the job.

A collective with a missing rank fails or hangs, and neither gloo nor NCCL says which rank is missing. So each rank
writes two numbers to the job's store: a beat count from its own thread, which stops when the process is killed or
stopped or its host is gone, and the number of collectives that it has entered. The rank with the fewest collectives
keeps the others waiting, even if its thread still beats (a loader that hangs); ranks that wait in a collective are
ahead and never blamed. Rank 0 decides; the others read its verdict and watch rank 0, whose process holds the store.
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
"""Beats that a rank may miss after a collective has failed, before it is named."""


@dataclass(frozen=True)
class Beat:
    """One rank's entry in the store."""

    host: str
    count: int
    collectives: int
    failed: bool = False
    """One of this rank's collectives has failed."""

    def to_text(self) -> str:
        """Serialise for the store."""
        return json.dumps([self.host, self.count, self.collectives, self.failed])

    @classmethod
    def from_text(cls, text: str | bytes) -> "Beat":
        """Read what `to_text` wrote."""
        return cls(*json.loads(text))


class Watch:
    """The ranks' beats as one observer saw them, with times of its own clock, since hosts' clocks differ.

    Args:
        timeout: seconds after which a silent or a stuck rank is named.
        interval: seconds between two beats.
        sees_all: the observer sees all ranks; only then can it tell which one is stuck.
    """

    def __init__(self, timeout: float, interval: float, *, sees_all: bool) -> None:
        self.timeout, self.interval, self.sees_all = timeout, interval, sees_all
        self.beats: dict[int, Beat] = {}
        self.heard: dict[int, float] = {}
        self.moved: dict[int, float] = {}

    def see(self, beats: Mapping[int, Beat], now: float) -> None:
        """Record changes."""
        for rank, beat in beats.items():
            before = self.beats.get(rank)
            if before is None or before.count != beat.count:
                self.heard[rank] = now
            if before is None or before.collectives != beat.collectives:
                self.moved[rank] = now
            self.beats[rank] = beat

    def verdict(self, now: float) -> tuple[int, str] | None:
        """Return the rank that keeps the others waiting, and a message; None if there is none."""
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
    """A context that beats and watches, and ends this process with exit code 1 when a rank is missing.

    With one process it does nothing. With several the process group must be initialised.

    The main thread may be blocked in a collective, so it ends the process by `os._exit`, after one message.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout, self.interval = timeout, min(1.0, timeout / 10)
        self.stopped = threading.Event()
        self.failed = False
        self.exchanging: threading.Thread | None = None

    def __enter__(self) -> None:
        """Start the threads."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        # Its own connection: the main thread may be waiting on the other one.
        self.store = PrefixStore("heartbeat", distributed.store_of_job())
        self.watch = Watch(self.timeout, self.interval, sees_all=self.rank == 0)
        self.count = 0
        self.awake = 0.0
        self._beat()
        self._show()
        if self.rank == 0:
            self.store.set("verdict", "")
        distributed.barrier()  # every rank's first beat is in the store
        self._look()
        self.exchanging = threading.Thread(target=self._exchange, daemon=True)
        self.exchanging.start()
        threading.Thread(target=self._judge, daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop on all ranks together, so that no rank is missed that has just ended.

        If a collective failed, wait until the missing rank is known; any other error ends at once.
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
        """Exchange beats through the store. If rank 0 is stopped this blocks, so `_judge` has its own thread."""
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
            # Only time awake counts: after a job was suspended, all ranks would seem silent.
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
            time.sleep(LOST * self.interval)  # let the others read the verdict: the store ends with this process
        os._exit(1)
