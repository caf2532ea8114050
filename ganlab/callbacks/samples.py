"""Grids of samples as training goes on: fixed latents, the averaged generator."""

from pathlib import Path

import pytorch_lightning as pl

from ganlab import sharding
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.tracker import Tracker
from ganlab.models import GANModule
from ganlab.pictures import grid, save_png

COLUMNS = 10
ROWS = 10


class Samples(EveryImages):
    """Writes `nimg-<images>.png`: the same latents each time, a column per class for a conditional generator."""

    def __init__(self, folder: Path, *, every: int, seed: int, tracker: Tracker | None) -> None:
        super().__init__(every)
        self.folder, self.seed, self.tracker = folder, seed, tracker

    def fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        """Write the grid, on rank 0: making samples changes nothing, and unless it is sharded waits for nobody."""
        if not (trainer.is_global_zero or sharding.is_sharded(module.ema)):
            return
        labels = list(range(module.image.classes))[:COLUMNS] if module.classes else None
        columns = len(labels) if labels else COLUMNS
        images = module.sample(ROWS * columns, self.seed, labels)
        if not trainer.is_global_zero:
            return
        path = self.folder / f"nimg-{module.clock.nimg:012d}.png"
        save_png(grid(images, columns), path)
        if self.tracker is not None:
            self.tracker.log(module.clock.nimg, {"samples": path})
