"""Pictures of samples during training, from fixed latents by the averaged generator; at the end a film of them."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.tracker import Tracker
from ganlab.engine import sharding
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals
from ganlab.evaluation.images import Points
from ganlab.evaluation.pictures import picture_of_points
from ganlab.pictures.captions import captions_of
from ganlab.pictures.films import write_film
from ganlab.pictures.grids import grid, grid_by_class
from ganlab.pictures.tiles import save_png

log = logging.getLogger(__name__)

SIDE = 10
"""Rows and columns of a grid; the first classes are shown if there are more."""
Draw = Callable[[], Image.Image]


class SamplePictures(EveryImages):
    """Writes `nimg-<images>.png`, and after the last round `film.gif` of all of them.

    A picture is the game's own if it has one. Else points are drawn as densities or in the plane, beside reals and
    over what a discriminator says; of images, numbers 0 to 99 of the run's seed are shown, a row per class for a
    conditional generator.

    Training waits for the samples, not for the file, which a thread draws and writes.

    Args:
        folder: of the pictures.
        every: images between two pictures.
        signals: tells when the first checkpoint is due.
        seed: of the samples.
        tracker: gets each picture.
        url: of the data, for the reals beside points.
    """

    advisory = True

    def __init__(
        self, folder: Path, *, every: int, signals: Signals, seed: int, tracker: Tracker | None, url: str
    ) -> None:
        super().__init__(every, signals)
        self.folder, self.seed, self.tracker, self.url = folder, seed, tracker, url
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self.writing: Future[Path] | None = None

    def after_step(self, module: Game, last: bool) -> None:
        """Draw a picture if it is due, and after the last round the film."""
        super().after_step(module, last)
        if last and distributed.rank() == 0:
            self._wait()
            if len(pictures := sorted(self.folder.glob("nimg-*.png"))) > 1:
                self.writing = self.pool.submit(write_film, pictures, self.folder / "film.gif")

    def fire(self, module: Game) -> None:
        """Write the picture, on rank 0; other ranks take part only if the generator is sharded."""
        if not (distributed.rank() == 0 or sharding.is_sharded(module.ema)):
            return
        draw = self.picture_of(module)
        if distributed.rank():
            return
        self._wait()
        path = self.folder / f"nimg-{module.clock.nimg:012d}.png"
        self.writing = self.pool.submit(write, draw, path)
        if self.tracker is not None:
            self.tracker.log(module.clock.nimg, {"samples": self.writing})

    def picture_of(self, module: Game) -> Draw:
        """Compute what a picture shows; return the function that draws it."""
        if (own := module.picture()) is not None:
            return lambda: own
        if module.image.is_point:
            return picture_of_points(module, Points(self.url), self.seed)
        classes = min(module.classes, SIDE)
        images = module.sample((classes or SIDE) * SIDE, self.seed, list(range(classes)) or None).cpu()
        if not classes:
            return partial(grid, images, SIDE)
        return partial(grid_by_class, images, classes, captions_of(module.image.class_names, range(classes)))

    def end(self) -> None:
        """Wait until the last picture is on disk."""
        self._wait()

    def _wait(self) -> None:
        if self.writing is not None and (error := self.writing.exception()):
            log.warning("a picture of samples could not be written: %s", error)
        self.writing = None


def write(draw: Draw, path: Path) -> Path:
    """Draw and write a picture, and return its path."""
    save_png(draw(), path)
    return path
