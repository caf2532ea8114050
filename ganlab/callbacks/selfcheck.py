"""How near a run is to the limit of its machine: measured before the first move, then in every tick's line."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.ticks import Ticks
from ganlab.experiment import selfcheck
from ganlab.experiment.selfcheck import Work
from ganlab.files import atomic_write
from ganlab.models import GANModule


class SelfCheck(EveryImages):
    """Says what the machine's limit is, and gives each line of metrics the `share` of it that was reached.

    All processes measure, at the same time; rank 0 writes `file`. The second line, the first without the warming up,
    is followed by what to suspect. It stands before `ticks`, which reads what it records.

    Args:
        file: JSON with what a process can do here, what an image of each phase asks for, and the limits.
        works: what an image asks for, by the first image of its phase.
    """

    def __init__(self, file: Path, *, every: int, works: Mapping[int, Work], ticks: Ticks) -> None:
        super().__init__(every)
        self.file, self.works, self.ticks = file, works, ticks
        self.lines = 0
        self.untold: list[str] = []

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Measure, and say what the machine could do."""
        super().on_train_start(trainer, module)
        assert isinstance(module, GANModule)
        device, precision, processes = module.device, module.runtime.precision, distributed.world_size()
        self.rates = selfcheck.measure(
            device, selfcheck.rivals(precision, device), selfcheck.SECONDS_AT_START[device.type]
        )
        self.limits = {begin: processes * work.limit(self.rates, precision) for begin, work in self.works.items()}
        if trainer.is_global_zero:
            figures = {
                "precision": precision,
                "processes": processes,
                **selfcheck.figures(self.rates, device),
                "phases": [
                    {"from_nimg": begin, **vars(work), "limit_images_per_second": self.limits[begin]}
                    for begin, work in self.works.items()
                ],
            }
            with atomic_write(self.file) as file:
                file.write(json.dumps(figures, indent=1).encode())
            self.untold = [f"machine     {selfcheck.tell_machine(self.rates, device)}"]
            for phase in dict.fromkeys((module.plan(self.seen), module.phases[-1])):
                begin = phase.from_nimg
                limit = selfcheck.tell_limit(self.works[begin], self.limits[begin], phase)
                self.untold.append(f"limit       {limit}")
        self.last_nimg, self.last_time = self.seen, time.monotonic()

    def fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        """Record the share of the limit that was reached since the last line."""
        self.begin = module.plan(self.last_nimg).from_nimg
        nimg, now = module.clock.nimg, time.monotonic()
        share = (nimg - self.last_nimg) / (now - self.last_time) / self.limits[self.begin]
        module.statistics.record("share", torch.full((1,), share, device=module.device))
        self.last_nimg, self.last_time = nimg, now
        self.lines += 1

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Say what the machine could do, once all is well; after the second line, what to suspect."""
        assert isinstance(module, GANModule)
        if self.ticks.progress is None:
            return
        if self.lines == 2:
            self.lines += 1
            told = (module, self.works[self.begin], self.rates, self.ticks.row, distributed.world_size())
            self.untold.append(f"share       {selfcheck.tell_share(*told)}")
        while self.untold:
            self.ticks.progress.print(self.untold.pop(0))
