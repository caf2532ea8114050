"""Grids of samples as training goes on: fixed latents, the averaged generator."""

from pathlib import Path

import pytorch_lightning as pl

from ganlab import sharding
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.tracker import Tracker
from ganlab.models import GANModule
from ganlab.pictures import grid, grid_by_class, save_png

SIDE = 10
"""Columns, and rows; of more classes the first so many are shown."""


class Samples(EveryImages):
    """Writes `nimg-<images>.png`: the same latents each time, a row per class for a conditional generator."""

    def __init__(self, folder: Path, *, every: int, seed: int, tracker: Tracker | None) -> None:
        super().__init__(every)
        self.folder, self.seed, self.tracker = folder, seed, tracker

    def fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        """Write the grid, on rank 0: making samples changes nothing, and unless it is sharded waits for nobody."""
        if not (trainer.is_global_zero or sharding.is_sharded(module.ema)):
            return
        classes = min(module.classes, SIDE)
        images = module.sample((classes or SIDE) * SIDE, self.seed, list(range(classes)) or None)
        if not trainer.is_global_zero:
            return
        path = self.folder / f"nimg-{module.clock.nimg:012d}.png"
        save_png(grid_by_class(images, classes) if classes else grid(images, SIDE), path)
        if self.tracker is not None:
            self.tracker.log(module.clock.nimg, {"samples": path})
