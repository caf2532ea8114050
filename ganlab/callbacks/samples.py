"""Pictures of samples during training, from fixed latents or fixed real images; at the end a film of them."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.tracker import Trackers
from ganlab.data.format.faults import BadSampleError
from ganlab.data.read.base import Dataset
from ganlab.engine import sharding
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals
from ganlab.evaluation.images import Points
from ganlab.evaluation.pictures import picture_of_points
from ganlab.pictures.captions import MARGIN, captions_of
from ganlab.pictures.films import write_timelapse
from ganlab.pictures.grids import grid, grid_by_class, grid_by_title
from ganlab.pictures.tiles import LARGEST, fitting, save_png
from ganlab.types import Labels, Pixels

log = logging.getLogger(__name__)

SIDE = 10
"""Rows and columns of a grid, or fewer of large images; the first classes are shown if there are more."""
Draw = Callable[[], Image.Image]


class SamplePictures(EveryImages):
    """Writes `nimg-<images>.png`, and after the last round `film.gif` of all of them.

    A picture is the game's own if it has one. Else points are drawn as densities or in the plane, beside reals and
    over what a discriminator says; of images, numbers 0 to 99 of the run's seed are shown, a row per class for a
    conditional generator. Of a game that makes images of real ones, the first real images and what is made of them
    stand side by side: in that file, or in `made-<images>.png` if the game makes images of latents too.

    Training waits for the samples, not for the file, which a thread draws and writes.

    Args:
        folder: of the pictures.
        every: images between two pictures.
        signals: tells when the first checkpoint is due.
        seed: of the samples.
        trackers: get each picture.
        url: of the data, for the reals beside points.
        streams: the datasets of the game, the first one and perhaps the other.
    """

    advisory = True

    def __init__(
        self,
        folder: Path,
        *,
        every: int,
        signals: Signals,
        seed: int,
        trackers: Trackers | None,
        url: str,
        streams: Sequence[Dataset] = (),
    ) -> None:
        super().__init__(every, signals)
        self.folder, self.seed, self.trackers, self.url, self.streams = folder, seed, trackers, url, streams
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self.writing: list[Future[Any]] = []

    def after_step(self, module: Game, last: bool) -> None:
        """Draw a picture if it is due, and after the last round the film."""
        super().after_step(module, last)
        if last and distributed.rank() == 0:
            self._wait()
            if len(pictures := sorted(self.folder.glob("nimg-*.png"))) > 1:
                self.writing = [self.pool.submit(write_timelapse, pictures, self.folder / "film.gif")]

    def fire(self, module: Game) -> None:
        """Write the pictures, on rank 0; other ranks take part only if the networks are sharded."""
        if not (distributed.rank() == 0 or sharding.is_sharded(module.ema)):
            return
        draws = self.pictures_of(module)
        if distributed.rank():
            return
        self._wait()
        for name, draw in draws.items():
            path = self.folder / f"{name}-{module.clock.nimg:012d}.png"
            self.writing.append(self.pool.submit(write, draw, path))
        if self.trackers is not None and self.writing:
            self.trackers.show(module.clock.nimg, "samples", self.writing[0])

    def pictures_of(self, module: Game) -> dict[str, Draw]:
        """Compute what the pictures show; return the functions that draw them, by the first part of their names."""
        if (own := module.picture()) is not None:
            return {"nimg": lambda: own}
        if module.image.is_point:
            return {"nimg": picture_of_points(module, Points(self.url), self.seed)}
        draws = {"nimg": self._of_seed(module)} if module.latent else {}
        if module.remakes():
            draws["made" if draws else "nimg"] = self._of_reals(module)
        return draws

    def end(self) -> None:
        """Wait until the last pictures are on disk."""
        self._wait()

    @cached_property
    def reals(self) -> list[tuple[Tensor, Labels]]:
        """The first images of each stream, and their labels."""
        return [first_images(dataset, SIDE) for dataset in self.streams]

    def _of_seed(self, module: Game) -> Draw:
        rows, columns = (min(most, SIDE) for most in fitting(module.image.height, module.image.width, MARGIN))
        classes, columns = min(module.classes, rows), module.columns or columns
        images = module.sample((classes or rows) * columns, self.seed, list(range(classes)) or None).cpu()
        if not classes:
            return partial(grid, images, columns)
        return partial(grid_by_class, images, classes, captions_of(module.image.class_names, range(classes)))

    def _of_reals(self, module: Game) -> Draw:
        parts = dict[str, Pixels]()
        for other, (images, labels) in enumerate(self.reals):
            if module.remakes(bool(other)):
                made = module.remake(images, labels, other=bool(other))
                parts |= {"other" if other and title == "input" else title: made[title].cpu() for title in made}
        _, columns = fitting(module.image.height, module.image.width, MARGIN)
        columns = min(columns, SIDE)
        return partial(grid_by_title, {title: images[:columns] for title, images in parts.items()}, columns)

    def _wait(self) -> None:
        for writing in self.writing:
            if error := writing.exception():
                log.warning("a picture of samples could not be written: %s", error)
        self.writing = []


def first_images(dataset: Dataset, count: int) -> tuple[Tensor, Labels]:
    """Read the first images of a dataset that can be decoded, [n, c, h, w], and their labels [n]."""
    image = dataset.image
    found, labels = list[np.ndarray](), list[int]()
    for number in range(len(dataset)):
        out = np.empty((image.height, image.width, image.channels), dataset.pixel)
        with suppress(BadSampleError):
            labels.append(dataset.read(number, out))
            found.append(out)
        if len(found) == count:
            break
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2), torch.tensor(labels)


def write(draw: Draw, path: Path) -> Path:
    """Draw and write a picture, no larger than `LARGEST` a side, and return its path."""
    picture = draw()
    picture.thumbnail((LARGEST, LARGEST))
    save_png(picture, path)
    return path
