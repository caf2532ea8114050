"""Batches of uint8 images in the order of `Order`, decoded by threads ahead of use."""

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise, takewhile
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlab.data.format.faults import BadSampleError
from ganlab.data.format.shards import Place
from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.order import mix
from ganlab.keys import key
from ganlab.types import ImageSpec, Phase, UserError

AHEAD = 3
"""Batches decoded ahead."""
LOOKED_UP = 512
"""Images whose places are looked up together, over several batches: single lookups would be slow."""
REPLACEMENTS = 10
"""Bad samples in a row at one position before reading fails."""

Found = tuple[int, Place, int]
"""A position, the place of its image, and whether it is flipped."""


class Share(NamedTuple):
    """This rank's share of the batch after `nimg` images."""

    nimg: int
    images: int
    image: ImageSpec


class BatchLoader:
    """An endless stream of (images uint8 [n, c, h, w], labels int64 [n]), this rank's slices of the global batches.

    The global batch after `nimg` images is positions [nimg, nimg + batch) of the order, split contiguously by rank;
    `plan(nimg)` gives their number and size. Every iteration starts at `start`: the trainer keeps the position, not the
    loader. A bad sample is replaced by another that is a function of its position.

    Args:
        mirror: flip half of the images, left to right, as a function of their position.
        pin_memory: use pinned memory, for copies to a GPU.
    """

    def __init__(
        self,
        dataset: ShardDataset,
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
        self.mirror, self.buffers = mirror, Buffers(pin_memory)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Decode ahead and yield, endlessly."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="decode") as pool:
            waiting: deque[tuple[int, Tensor, Tensor, list[Future[None]]]] = deque()
            shares, end = self._looked_up(pool), -1
            try:
                while True:
                    while len(waiting) <= AHEAD:
                        waiting.append(self._begin(pool, *next(shares)))
                    oldest, pixels, labels, parts = waiting.popleft()
                    if oldest >= end:
                        end = self.order.window_end(oldest)
                        self.dataset.store.expect(self.order.upcoming(oldest))
                    for part in reversed(parts):  # the last one usually ends last, so this thread wakes once
                        part.result()
                    yield pixels.permute(0, 3, 1, 2), labels
                    del pixels  # so that its memory can be reused
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
        """List positions, the places of their images, and whether they are flipped."""
        firsts = (share.nimg + self.rank * share.images for share in shares)
        positions = np.concatenate([np.arange(first, first + shares[0].images) for first in firsts])
        mixed = mix(positions.astype(np.uint64) ^ np.uint64(key(self.seed, "mirror")))
        flips = (mixed & np.uint64(self.mirror)).tolist()
        places = self.dataset.index.places(self.order(positions), shares[0].image.height)
        return list(zip(positions.tolist(), places, flips, strict=True))

    def _begin(
        self, pool: ThreadPoolExecutor, share: Share, places: Future[list[Found]], first: int
    ) -> tuple[int, Tensor, Tensor, list[Future[None]]]:
        """Decode this rank's share of a batch, one part per thread."""
        # Allocated on this thread: pinned memory belongs to the current thread's GPU.
        pixels = self.buffers.take((share.images, share.image.height, share.image.width, share.image.channels))
        labels = torch.empty(share.images, dtype=torch.int64)
        cuts = pairwise(share.images * k // self.threads for k in range(self.threads + 1))
        parts = [
            pool.submit(self._decode, places, first, range(a, b), pixels.numpy(), labels.numpy())
            for a, b in cuts
            if a < b
        ]
        return share.nimg, pixels, labels, parts

    def _decode(
        self,
        places: Future[list[Found]],
        first: int,
        part: range,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
    ) -> None:
        found = places.result()
        for i in part:
            position, place, flip = found[first + i]
            labels[i] = self._read(position, place, pixels[i])
            if flip:
                image = torch.from_numpy(pixels[i])
                image.copy_(image.flip(1))  # NumPy takes ten times as long

    def _read(self, position: int, place: Place, out: NDArray[np.uint8]) -> int:
        for attempt in range(REPLACEMENTS):
            try:
                self.dataset.decode(place, out)
                return place.label
            except BadSampleError as error:
                self.dataset.faults.add(error.bad)
            sample = key(self.seed, "replacement", position, attempt) % len(self.dataset)
            place = self.dataset.index.place(sample, len(out))
        raise UserError(self.dataset.faults.too_many(f"{REPLACEMENTS} of them in a row at one position"))


class Buffers:
    """Memory for batches, reused when nothing refers to a batch any more.

    Torch reuses pinned memory itself: only its allocator knows when a copy to the GPU is done.
    """

    def __init__(self, pin_memory: bool) -> None:
        self.pin_memory = pin_memory
        self.shape: tuple[int, ...] = ()
        self.free: list[NDArray[np.uint8]] = []

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Return an uninitialised uint8 tensor of this shape."""
        if self.pin_memory:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        if shape != self.shape:
            self.shape, self.free = shape, []
        memory = self.free.pop() if self.free else np.empty(shape, np.uint8)
        lent = memory.view()  # alive as long as any tensor views it
        weakref.finalize(lent, self.free.append, memory).atexit = False
        return torch.from_numpy(lent)
