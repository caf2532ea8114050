"""Grids of samples during training, from fixed latents by the averaged generator."""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from torch import Tensor

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.tracker import Tracker
from ganlab.engine import sharding
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals
from ganlab.pictures.captions import captions_of
from ganlab.pictures.grids import grid, grid_by_class
from ganlab.pictures.tiles import save_png

log = logging.getLogger(__name__)

SIDE = 10
"""Rows and columns of a grid; the first classes are shown if there are more."""


class SampleGrids(EveryImages):
    """Writes `nimg-<images>.png`: images 0 to 99 of the run's seed, a row per class for a conditional generator.

    Training waits for the images, not for the file, which a thread writes.
    """

    advisory = True

    def __init__(self, folder: Path, *, every: int, signals: Signals, seed: int, tracker: Tracker | None) -> None:
        super().__init__(every, signals)
        self.folder, self.seed, self.tracker = folder, seed, tracker
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self.writing: Future[Path] | None = None

    def fire(self, module: Game) -> None:
        """Write the grid, on rank 0; other ranks take part only if the generator is sharded."""
        if not module.latent:
            return
        if not (distributed.rank() == 0 or sharding.is_sharded(module.ema)):
            return
        classes = min(module.classes, SIDE)
        columns = module.columns or SIDE
        images = module.sample((classes or SIDE) * columns, self.seed, list(range(classes)) or None)
        if distributed.rank():
            return
        self._wait()
        path = self.folder / f"nimg-{module.clock.nimg:012d}.png"
        captions = captions_of(module.image.class_names, range(classes))
        self.writing = self.pool.submit(write, images.cpu(), columns, classes, captions, path)
        if self.tracker is not None:
            self.tracker.log(module.clock.nimg, {"samples": self.writing})

    def end(self) -> None:
        """Wait until the last grid is on disk."""
        self._wait()

    def _wait(self) -> None:
        if self.writing is not None and (error := self.writing.exception()):
            log.warning("a grid of samples could not be written: %s", error)
        self.writing = None


def write(images: Tensor, columns: int, classes: int, captions: Sequence[str], path: Path) -> Path:
    """Write uint8 images as a grid, and return its path."""
    save_png(grid_by_class(images, classes, captions) if classes else grid(images, columns), path)
    return path
