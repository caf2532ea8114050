"""Sets of images to evaluate: shards, image files or a generator's samples, by number, in blocks."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ganlab.classes import names_in
from ganlab.data.format.decode import MAX_PIXELS
from ganlab.data.make.account import listed
from ganlab.data.make.sources import open_source
from ganlab.data.make.sources.base import MEND
from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.location import redact, refuse_secrets
from ganlab.data.read.open import is_dataset, is_drawn, open_data
from ganlab.data.read.toys import SCHEME, ToyDataset
from ganlab.experiment.frame import Cache, Config, Data
from ganlab.files import sha256_of
from ganlab.metrics.features import full_float32
from ganlab.pictures.grids import to_uint8
from ganlab.seeding import SAMPLE_BATCH
from ganlab.types import Images, Labels, Pixels, UserError

if TYPE_CHECKING:
    from ganlab.engine.game import Game

BLOCK = SAMPLE_BATCH
"""Images are always generated, and passed to an extractor, in blocks of this size.

Rounding depends on the batch size, and values must not depend on the machine, so it is fixed: 64 images of 1024 px are
0.8 GB of floats, less than their generator needs.
"""
THREADS = 2
"""Decoding threads, one block ahead of use."""


class ImageSet(ABC):
    """Images [0, n), the same on every rank and in every call."""

    name: str
    fingerprint: str
    """Changes when any image does."""
    classes: int
    """0 without labels."""
    class_names: tuple[str, ...]
    """Empty if the classes only have numbers."""
    total: int
    """Number of images that `n` was chosen from."""
    origin: Mapping[str, Any]
    """How the images were made: part of the protocol."""
    extent: float = 1.0
    """What the values of points are divided by."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def block(self, start: int) -> tuple[Pixels | Images, Labels]:
        """Return the images [start, start + BLOCK), fewer at the end; points as floats. `start` is a multiple."""

    def errors(self, start: int) -> dict[str, Tensor]:
        """Return errors of the same images by name, where the right answer is known."""
        raise NotImplementedError(f"{type(self).__name__} has no errors")


class Samples(ImageSet):
    """The first `n` samples of the averaged generator for a seed; to be constructed on all ranks.

    Args:
        model: settled, so that all ranks hold the same weights; gathered, if ranks make different images.
        n: number of images.
        seed: seed of latents and labels; evaluation and sampling draw different ones.
        name: name in messages.
        exported: only the model's averaged generator is trained.
        truncation: of the latents, as the model takes it; None for none.
        standing: batches of samples from which the model's batch norms get their statistics now; 0 keeps those of
            training.
    """

    def __init__(
        self,
        model: "Game",
        n: int,
        seed: int = 0,
        name: str = "samples",
        exported: bool = False,
        truncation: float | None = None,
        standing: int = 0,
    ) -> None:
        from ganlab.engine import sharding  # brings Lightning, which only models need

        self.model, self.seed, self.classes, self.n, self.total = model, seed, model.classes, n, n
        self.class_names = model.image.class_names
        self.name, self.exported, self.truncation = name, exported, truncation
        if standing:
            model.stand(standing, truncation, seed)
        sharding.gather(model.ema)
        truncated = "" if truncation is None else f" truncation {truncation}"
        self.fingerprint = f"{hash_of_weights(model.ema)} seed {seed}{truncated}"
        sharding.release(model.ema)
        running = any(getattr(layer, "running_mean", None) is not None for layer in model.ema.modules())
        self.origin = {
            "weights": "ema",
            # Running statistics are the live generator's.
            "batch_norm": f"standing{standing}" if standing else "live" if running else "none",
            "truncation": truncation,
            "labels": "uniform" if model.classes else None,
        }

    def __len__(self) -> int:
        return self.n

    def block(self, start: int) -> tuple[Pixels | Images, Labels]:
        """Generate a block; UserError if images are not finite."""
        with full_float32():
            images, labels = self.model.synthesize(start, self.seed, "evaluation", None, self.truncation)
        if not images.isfinite().all():
            raise UserError(f"images {start:,} to {start + BLOCK:,} of the generator hold infinities or NaN")
        if not self.model.image.is_point:
            images = to_uint8(images)
        return images[: self.n - start], labels[: self.n - start]


class Points(ImageSet):
    """The first `n` points of a toy, or all, as its games see them: divided by its extent."""

    def __init__(self, url: str, n: int | None = None) -> None:
        self.dataset, self.name = ToyDataset(url), url.removeprefix(SCHEME)
        self.n, self.total = count_of(n, len(self.dataset), url), len(self.dataset)
        self.extent = getattr(self.dataset.toy, "extent", 1.0)
        self.classes, self.class_names = self.dataset.image.classes, self.dataset.image.class_names
        self.fingerprint, self.origin = self.dataset.fingerprint, {"files": "toy"}

    def __len__(self) -> int:
        return self.n

    def block(self, start: int) -> tuple[Images, Labels]:
        """Draw a block."""
        drawn = self.dataset.places(np.arange(start, min(start + BLOCK, self.n)), 1)
        pixels = torch.from_numpy(np.stack([place.pixels for place in drawn])).permute(0, 3, 1, 2)  # n c 1 1
        return pixels, torch.tensor([place.label for place in drawn])


def count_of(n: int | None, total: int, name: str) -> int:
    """Return how many images of `total` are used; UserError if more are asked for."""
    if n is not None and n > total:
        raise UserError(f"{name}: {n:,} images asked for (-n, or evaluation.reals), and it has {total:,}")
    return n or total


class Decoded(ImageSet):
    """Images that threads read, one block ahead."""

    def __init__(self, n: int | None, total: int, name: str) -> None:
        self.name, self.n, self.total = name, count_of(n, total, name), total
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="decode")
        self.ahead: dict[int, list[Future[tuple[np.ndarray, int]]]] = {}

    def __len__(self) -> int:
        return self.n

    @abstractmethod
    def read(self, i: int) -> tuple[np.ndarray, int]:
        """Decode one image, uint8 [h, w, c], and return its label, -1 for none."""

    def block(self, start: int) -> tuple[Pixels, Labels]:
        """Return the block that was read ahead, and start reading the next one."""
        ahead = self.ahead.get(start) or self._begin(start)
        self.ahead = {start + BLOCK: self._begin(start + BLOCK)}
        found = [future.result() for future in ahead]
        return torch.from_numpy(np.stack([image for image, _ in found])).permute(0, 3, 1, 2), torch.tensor(
            [label for _, label in found]
        )

    def _begin(self, start: int) -> list[Future[tuple[np.ndarray, int]]]:
        return [self.pool.submit(self.read, i) for i in range(start, min(start + BLOCK, len(self)))]


class Shards(Decoded):
    """A packed dataset, in the shuffled order of its shards.

    Args:
        url: as `open_data` reads it.
        n: number of images, the first ones; None is all.
        cache: cache of remote shards.
        max_pixels: images with more pixels count as bad.
        crop: height and width of a random crop of each image, always the same one; None takes whole images.
    """

    def __init__(
        self,
        url: str,
        n: int | None = None,
        cache: Cache | None = None,
        max_pixels: int = MAX_PIXELS,
        crop: int | None = None,
    ) -> None:
        refuse_secrets(url, "evaluation.data")
        cache = cache or Cache()
        self.dataset = open_data(url, crop=crop, cache=cache.folder, cache_bytes=cache.bytes, max_pixels=max_pixels)
        super().__init__(n, len(self.dataset), Path(redact(url)).resolve().name)
        image = self.dataset.image
        self.classes, self.class_names = image.classes, image.class_names
        # Shards that are resized when they are read have one fingerprint, whatever the size.
        resized = isinstance(self.dataset, ShardDataset) and self.dataset.index.resize
        size = f" {image.height}x{image.width}" if resized else ""
        self.fingerprint = self.dataset.fingerprint + size + (f" crop {crop}" if crop else "")
        self.origin = {"files": "shards"} | ({"crop": crop} if crop else {})

    def read(self, i: int) -> tuple[np.ndarray, int]:
        """Decode one image; a bad one is an error, since its replacement would be counted twice."""
        image = self.dataset.image
        out = np.empty((image.height, image.width, image.channels), np.uint8)
        return out, self.dataset.read(i, out)


class ImageFiles(Decoded):
    """A folder or zip of images, an idx file or an array; all images must have one size."""

    def __init__(self, path: Path, n: int | None = None) -> None:
        self.source = open_source(path)
        super().__init__(n, len(self.source), path.resolve().stem)
        self.fingerprint = sha256_of(path) if path.is_file() else self.source.facts().state
        self.classes, self.class_names = len(self.source.class_names), names_in(self.source.class_names)
        self.origin = {"files": "images"}
        self.shape = self._shape()

    def _shape(self) -> tuple[int, ...]:
        """Return the shape of the first image that can be decoded."""
        for i in range(len(self)):
            with suppress(UserError):
                return self._pixels(i).shape
        raise self._all_bad()

    def block(self, start: int) -> tuple[Pixels, Labels]:
        """Return a block; UserError names all images that cannot be decoded or have another size."""
        try:
            return super().block(start)
        except UserError as error:
            raise self._all_bad() from error

    def _all_bad(self) -> UserError:
        bad = list[str]()
        for i in range(len(self)):
            try:
                self.read(i)
            except UserError as error:
                bad.append(str(error).removesuffix(MEND))
        return UserError(
            f"{len(bad):,} of {len(self):,} images cannot be evaluated:{listed(bad)}\nmend or remove them, or let "
            "`ganlab data pack SOURCE DEST --size N --skip-bad` leave out the broken ones and bring all to one size"
        )

    def read(self, i: int) -> tuple[np.ndarray, int]:
        """Decode one image."""
        pixels = self._pixels(i)
        if pixels.shape != self.shape:
            raise UserError(
                f"{self.source.describe(i)}: {_size(pixels.shape)}, but the first image has {_size(self.shape)}"
            )
        return pixels, -1 if self.source.labels is None else int(self.source.labels[i])

    def _pixels(self, i: int) -> np.ndarray:
        picture = self.source.image(i)
        if picture.mode not in ("L", "RGB", "RGBA"):
            picture = picture.convert("RGB")
        pixels = np.array(picture)
        return pixels if pixels.ndim == 3 else pixels[..., None]


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height}x{width} px in {channels} channel{'s' * (channels > 1)}"


def hash_of_weights(network: nn.Module) -> str:
    """Hash parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def open_reals(config: Config) -> ImageSet:
    """Open the reals of a run: `evaluation.data`, else its training data; the first `evaluation.reals` of them."""
    evaluation, data = config.evaluation, config.data
    return open_images(evaluation.data or data.url, evaluation.reals, data)


def open_images(path: str, n: int | None = None, data: Data | None = None) -> ImageSet:
    """Open the first `n` images of a dataset or of image files; UserError if there are fewer, or none.

    `data` has the cache of shards, the largest size of an image, and the crop of the dataset that it names itself.
    """
    if not is_dataset(path):
        return ImageFiles(Path(path), n)
    if is_drawn(path) and ToyDataset(path).image.is_point:
        return Points(path, n)
    if data is None:
        return Shards(path, n)
    return Shards(path, n, data.cache, data.max_pixels, data.crop if path == data.url else None)
