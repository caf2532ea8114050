"""Grids of samples as training goes on: fixed latents, the averaged generator."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.tracker import Tracker
from ganlab.engine import sharding
from ganlab.models import GANModule
from ganlab.pictures.grids import grid, grid_by_class
from ganlab.pictures.tiles import save_png

SIDE = 10
"""Columns, and rows; of more classes the first so many are shown."""


class Samples(EveryImages):
    """Writes `nimg-<images>.png`: the same latents each time, a row per class for a conditional generator.

    The game waits for the images, not for the file, which a thread makes of them.
    """

    def __init__(self, folder: Path, *, every: int, seed: int, tracker: Tracker | None) -> None:
        super().__init__(every)
        self.folder, self.seed, self.tracker = folder, seed, tracker
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self.writing: Future[Path] | None = None

    def fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        """Write the grid, on rank 0: making samples changes nothing, and unless it is sharded waits for nobody."""
        if not (trainer.is_global_zero or sharding.is_sharded(module.ema)):
            return
        classes = min(module.classes, SIDE)
        images = module.sample((classes or SIDE) * SIDE, self.seed, list(range(classes)) or None)
        if not trainer.is_global_zero:
            return
        self._wait()
        path = self.folder / f"nimg-{module.clock.nimg:012d}.png"
        self.writing = self.pool.submit(write, images.cpu(), classes, path)
        if self.tracker is not None:
            self.tracker.log(module.clock.nimg, {"samples": self.writing})

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the last grid, and wait until it is on disk."""
        super().on_train_end(trainer, module)
        self._wait()

    def _wait(self) -> None:
        if self.writing is not None:
            self.writing.result()


def write(images: Tensor, classes: int, path: Path) -> Path:
    """Write uint8 images as a grid, and return its path."""
    save_png(grid_by_class(images, classes) if classes else grid(images, SIDE), path)
    return path
