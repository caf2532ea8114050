"""A run's share of its machine's limit: measured before the first step, then in every tick's line."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.ticks import Ticks
from ganlab.engine.game import Game
from ganlab.experiment import limits
from ganlab.experiment.limits import Rates
from ganlab.experiment.machines import remember
from ganlab.experiment.work import Work
from ganlab.files import atomic_write


class SelfCheck(EveryImages):
    """Reports the machine's limit, and adds to each line of metrics the `share` of it that was reached.

    All processes measure at the same time; rank 0 writes `file`. After the second line, the first one without warm-up,
    it reports the likeliest bottleneck. It must run before `ticks`, which reads its statistics. If the limit cannot be
    found on some rank, it reports that, and the run continues without.

    Args:
        file: JSON with the measured speeds, the work per image of each phase, and the limits.
        works: the work per image, by the first image of each phase, or the error that kept it from being counted.
    """

    advisory = True

    def __init__(self, file: Path, *, every: int, works: Mapping[int, Work] | Exception, ticks: Ticks) -> None:
        super().__init__(every)
        self.file, self.counted, self.ticks = file, works, ticks
        self.lines = 0
        self.known = False
        self.untold: list[str] = []

    def start(self, module: Game) -> None:
        """Measure, and prepare the report of the limit."""
        super().start(module)
        failure = None
        try:
            self._measure(module)
        except Exception as error:  # a user's own part may raise anything
            failure = reason(error)
        failures = distributed.gather([] if failure is None else [failure])
        self.known = not failures
        if distributed.rank() == 0:
            self._tell_limits(module) if self.known else self.untold.append(f"limit       unknown: {failures[0]}")
        self.last_nimg, self.last_time = self.seen, time.monotonic()

    def _measure(self, module: Game) -> None:
        if isinstance(self.counted, Exception):
            raise self.counted
        device, precision, processes = module.device, module.runtime.precision, distributed.world_size()
        self.works = self.counted
        self.rates: Rates = limits.measure(
            device, limits.rivals(precision, device), limits.SECONDS_AT_START[device.type]
        )
        self.limits = {
            begin: processes * limits.reachable(work, self.rates, precision) for begin, work in self.works.items()
        }

    def _tell_limits(self, module: Game) -> None:
        figures = {
            "precision": module.runtime.precision,
            "processes": distributed.world_size(),
            **limits.figures(self.rates, module.device),
            "phases": [
                {"from_nimg": begin, **vars(work), "limit_images_per_second": self.limits[begin]}
                for begin, work in self.works.items()
            ],
        }
        with atomic_write(self.file) as file:
            file.write(json.dumps(figures, indent=1).encode())
        self.untold = [f"machine     {limits.tell_machine(self.rates, module.device)}"]
        for phase in dict.fromkeys((module.plan(self.seen), module.phases[-1])):
            begin = phase.from_nimg
            limit = limits.tell_limit(self.works[begin], self.limits[begin], phase)
            self.untold.append(f"limit       {limit}")

    def after_step(self, module: Game, last: bool) -> None:
        """Print the limit after the first step, and the likeliest bottleneck after the second line."""
        if self.lines == 2:
            self.lines += 1
            self.untold.append(self._suspect(module))
        while self.untold and self.ticks.progress is not None:
            self.ticks.progress.print(self.untold.pop(0))
        super().after_step(module, last)

    def fire(self, module: Game) -> None:
        """Record the share of the limit since the last line."""
        if not self.known:
            return
        self.begin = module.plan(self.last_nimg).from_nimg
        nimg, now = module.clock.nimg, time.monotonic()
        share = (nimg - self.last_nimg) / (now - self.last_time) / self.limits[self.begin]
        module.statistics.record("share", torch.full((1,), share, device=module.device))
        self.last_nimg, self.last_time = nimg, now
        self.lines += 1

    def _suspect(self, module: Game) -> str:
        told = (module, self.works[self.begin], self.rates, self.ticks.row, distributed.world_size())
        try:
            if distributed.rank() == 0:
                remember(self.rates, module.device, module.runtime.precision, self.ticks.row["share"])
            return f"share       {limits.tell_share(*told)}"
        except Exception as error:
            return f"share       unknown: {reason(error)}"


def reason(error: Exception) -> str:
    """Summarise an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
