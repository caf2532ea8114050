"""Batches of uint8 images in the order of `Order`, decoded by threads ahead of use."""

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlab.data.format.faults import BadSampleError
from ganlab.data.read.base import Dataset, Located
from ganlab.data.read.order import mix
from ganlab.keys import key
from ganlab.types import ImageSpec, Phase, UserError

AHEAD = 3
"""Batches decoded ahead."""
LOOKED_UP = 512
"""Images whose places are looked up together, over several batches: single lookups would be slow."""
REPLACEMENTS = 10
"""Bad samples in a row at one position before reading fails."""


class Found(NamedTuple):
    """A position, the place of its image, whether it is flipped, and the corner of its crop."""

    position: int
    place: Located
    flip: int
    top: int
    left: int


class Share(NamedTuple):
    """This rank's share of the batch after `nimg` images."""

    nimg: int
    images: int
    image: ImageSpec


class BatchLoader:
    """An endless stream of (images uint8 [n, c, h, w], labels int64 [n]), this rank's slices of the global batches.

    Where the dataset has vectors, they come third, float32 [n, d]; points (`toy:`) are float32 images in [-1, 1].

    The global batch after `nimg` images is positions [nimg, nimg + batch) of the order, split contiguously by rank;
    `plan(nimg)` gives their number and size. Every iteration starts at `start`: the trainer keeps the position, not the
    loader. Flips and crops are functions of the position, and so is the image that replaces a bad one.

    Args:
        mirror: flip half of the images, left to right, as a function of their position.
        pin_memory: use pinned memory, for copies to a GPU.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        plan: Callable[[int], Phase],
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
        mirror: bool = False,
        pin_memory: bool = False,
    ) -> None:
        if threads < 1:
            raise UserError(f"machine.decode_threads: {threads} threads decode nothing; write at least 1")
        self.dataset, self.order, self.seed = dataset, dataset.order(seed), seed
        self.plan, self.start, self.rank, self.world_size, self.threads = plan, start, rank, world_size, threads
        self.mirror, self.buffers = mirror, Buffers(pin_memory, dataset.pixel)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Decode ahead and yield, endlessly."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="decode") as pool:
            waiting: deque[tuple[int, tuple[Tensor, ...], list[Future[None]]]] = deque()
            shares, end = self._looked_up(pool), -1
            try:
                while True:
                    while len(waiting) <= AHEAD:
                        waiting.append(self._begin(pool, *next(shares)))
                    oldest, batch, parts = waiting.popleft()
                    if oldest >= end:
                        end = self.order.window_end(oldest)
                        self.dataset.expect(self.order.upcoming(oldest))
                    for part in reversed(parts):  # the last one usually ends last, so this thread wakes once
                        part.result()
                    yield batch[0].permute(0, 3, 1, 2), *batch[1:]
                    del batch  # so that its memory can be reused
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _looked_up(self, pool: ThreadPoolExecutor) -> Iterator[tuple[Share, Future[list[Found]], int]]:
        """Yield each share with a future of places and the number of its first image in it."""
        shares = self._shares(self.start)
        places = pool.submit(self._find, shares)
        while True:
            # The next places are looked up before these are decoded, so that no thread waits for them.
            after = self._shares(shares[-1].nimg + shares[-1].images * self.world_size)
            places_after = pool.submit(self._find, after)
            for number, share in enumerate(shares):
                yield share, places, number * share.images
            shares, places = after, places_after

    def _shares(self, nimg: int) -> list[Share]:
        """List the shares of the batches after `nimg` images that are looked up together, all of one phase."""
        phase = self.plan(nimg)
        assert phase.batch is not None
        if phase.batch % self.world_size:
            raise UserError(
                f"train.batch: {phase.batch} images cannot be shared equally by {self.world_size} processes"
            )
        images = phase.batch // self.world_size
        starts = range(nimg, nimg + max(1, LOOKED_UP // images) * phase.batch, phase.batch)
        same = takewhile(lambda start: self.plan(start) == phase, starts)
        return [Share(start, images, phase.image) for start in same]

    def _find(self, shares: list[Share]) -> list[Found]:
        """Look up the positions of shares, and draw how their images are flipped and cropped."""
        firsts = (share.nimg + self.rank * share.images for share in shares)
        positions = np.concatenate([np.arange(first, first + shares[0].images) for first in firsts])
        mixed = mix(positions.astype(np.uint64) ^ np.uint64(key(self.seed, "mirror")))
        flips = (mixed & np.uint64(self.mirror)).tolist()
        height, crop = shares[0].image.height, self.dataset.crop
        places = self.dataset.places(self.order(positions), crop.decoded(height)[0] if crop else height)
        tops, lefts = crop.corners(positions, self.seed, height) if crop else [[0] * len(places)] * 2
        return list(map(Found, positions.tolist(), places, flips, tops, lefts))

    def _begin(
        self, pool: ThreadPoolExecutor, share: Share, places: Future[list[Found]], first: int
    ) -> tuple[int, tuple[Tensor, ...], list[Future[None]]]:
        """Decode this rank's share of a batch, one part per thread."""
        # Allocated on this thread: pinned memory belongs to the current thread's GPU.
        pixels = self.buffers.take((share.images, share.image.height, share.image.width, share.image.channels))
        labels = torch.empty(share.images, dtype=torch.int64)
        vectors = torch.empty(share.images, self.dataset.vectors.shape[1])
        batch = (pixels, labels, vectors) if vectors.shape[1] else (pixels, labels)
        cuts = pairwise(share.images * k // self.threads for k in range(self.threads + 1))
        parts = [
            pool.submit(self._decode, places, first, range(a, b), *(tensor.numpy() for tensor in batch))
            for a, b in cuts
            if a < b
        ]
        return share.nimg, batch, parts

    def _decode(
        self,
        places: Future[list[Found]],
        first: int,
        part: range,
        pixels: NDArray[Any],
        labels: NDArray[np.int64],
        vectors: NDArray[np.float32] | None = None,
    ) -> None:
        found, crop = places.result(), self.dataset.crop
        whole = np.empty((*crop.decoded(pixels.shape[1]), pixels.shape[3]), pixels.dtype) if crop else None
        for i in part:
            position, place, flip, top, left = found[first + i]
            place = self._read(position, place, pixels[i] if whole is None else whole)
            labels[i] = place.label
            if vectors is not None:
                vectors[i] = self.dataset.vectors[place.sample]
            if crop is not None and whole is not None:
                crop.cut(whole, top, left, pixels[i])
            if flip:
                image = torch.from_numpy(pixels[i])
                image.copy_(image.flip(1))  # NumPy takes ten times as long

    def _read(self, position: int, place: Located, out: NDArray[Any]) -> Located:
        """Decode an image, or its replacement; return the place of the one that was decoded."""
        for attempt in range(REPLACEMENTS):
            try:
                self.dataset.decode(place, out)
                return place
            except BadSampleError as error:
                self.dataset.faults.add(error.bad)
            sample = key(self.seed, "replacement", position, attempt) % len(self.dataset)
            (place,) = self.dataset.places(np.array([sample]), len(out))
        raise UserError(self.dataset.faults.too_many(f"{REPLACEMENTS} of them in a row at one position"))


class Buffers:
    """Memory for batches, reused when nothing refers to a batch any more.

    Torch reuses pinned memory itself: only its allocator knows when a copy to the GPU is done.
    """

    def __init__(self, pin_memory: bool, pixel: type[np.generic]) -> None:
        self.pin_memory, self.pixel = pin_memory, pixel
        self.shape: tuple[int, ...] = ()
        self.free: list[NDArray[Any]] = []

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Return an uninitialised tensor of this shape."""
        if self.pin_memory:
            dtype = torch.uint8 if self.pixel is np.uint8 else torch.float32
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        if shape != self.shape:
            self.shape, self.free = shape, []
        memory = self.free.pop() if self.free else np.empty(shape, self.pixel)
        lent = memory.view()  # alive as long as any tensor views it
        weakref.finalize(lent, self.free.append, memory).atexit = False
        return torch.from_numpy(lent)
