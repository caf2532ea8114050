"""Grids of samples during training, from fixed latents or fixed real images by the averaged networks."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.tracker import Tracker
from ganlab.data.format.faults import BadSampleError
from ganlab.data.read.base import Dataset
from ganlab.engine import sharding
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals
from ganlab.pictures.captions import captions_of
from ganlab.pictures.grids import grid, grid_by_class, grid_by_title
from ganlab.pictures.tiles import save_png
from ganlab.types import Labels, Pixels

log = logging.getLogger(__name__)

SIDE = 10
"""Rows and columns of a grid; the first classes are shown if there are more."""


class SampleGrids(EveryImages):
    """Writes `nimg-<images>.png`: images 0 to 99 of the run's seed, a row per class for a conditional generator.

    Of a game that makes images of real ones, the first real images and what is made of them stand side by side: in that
    file, or in `made-<images>.png` if the game makes images of latents too.

    Training waits for the images, not for the file, which a thread writes.

    Args:
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
        tracker: Tracker | None,
        streams: Sequence[Dataset] = (),
    ) -> None:
        super().__init__(every, signals)
        self.folder, self.seed, self.tracker, self.streams = folder, seed, tracker, streams
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self.writing: list[Future[Path]] = []

    def fire(self, module: Game) -> None:
        """Write the grids, on rank 0; other ranks take part only if the networks are sharded."""
        if not (distributed.rank() == 0 or sharding.is_sharded(module.ema)):
            return
        draws = {"nimg": self._of_seed(module)} if module.latent else {}
        if module.remakes():
            draws["made" if draws else "nimg"] = self._of_reals(module)
        if distributed.rank():
            return
        self._wait()
        for name, draw in draws.items():
            path = self.folder / f"{name}-{module.clock.nimg:012d}.png"
            self.writing.append(self.pool.submit(write, draw, path))
        if self.tracker is not None:
            self.tracker.log(module.clock.nimg, {"samples": self.writing[0]})

    def end(self) -> None:
        """Wait until the last grids are on disk."""
        self._wait()

    @cached_property
    def reals(self) -> list[tuple[Tensor, Labels]]:
        """The first images of each stream, and their labels."""
        return [first_images(dataset, SIDE) for dataset in self.streams]

    def _of_seed(self, module: Game) -> Callable[[], Image.Image]:
        classes, columns = min(module.classes, SIDE), module.columns or SIDE
        images = module.sample((classes or SIDE) * columns, self.seed, list(range(classes)) or None).cpu()
        if not classes:
            return partial(grid, images, columns)
        return partial(grid_by_class, images, classes, captions_of(module.image.class_names, range(classes)))

    def _of_reals(self, module: Game) -> Callable[[], Image.Image]:
        parts = dict[str, Pixels]()
        for other, (images, labels) in enumerate(self.reals):
            if module.remakes(bool(other)):
                made = module.remake(images, labels, other=bool(other))
                parts |= {"other" if other and title == "input" else title: made[title].cpu() for title in made}
        return partial(grid_by_title, parts, SIDE)

    def _wait(self) -> None:
        for writing in self.writing:
            if error := writing.exception():
                log.warning("a grid of samples could not be written: %s", error)
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


def write(draw: Callable[[], Image.Image], path: Path) -> Path:
    """Write a picture, and return its path."""
    save_png(draw(), path)
    return path
