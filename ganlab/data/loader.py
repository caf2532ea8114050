"""Batches of bytes, decoded by threads ahead of their use, in the order that `Order` gives."""

import mmap
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ganlab.data.decode import decode, shrink
from ganlab.data.order import Order
from ganlab.data.shards import Index
from ganlab.types import ImageSpec, Phase, UserError

AHEAD = 3
"""Batches decoded before they are asked for."""


class Reader:
    """Random access to the images of a dataset: by number, from any thread."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.maps: dict[int, mmap.mmap] = {}
        self.lock = threading.Lock()

    def read(self, sample: int, out: np.ndarray) -> int:
        """Decode one image into `out`, uint8 [height, width, channels], in which it may be smaller; return its label.

        Raises `UserError` naming shard and place for bytes that are not those the index was made of.
        """
        shard = self.index.locate(sample)
        row = self.index.samples[sample]
        offset, size = int(row["offset"]), int(row["size"])
        data = self._map(shard)[offset : offset + size]
        place = f"{self.index.folder / self.index.shards[shard].name}: image at byte {offset}"
        if (found := zlib.crc32(data)) != row["crc32"]:
            raise UserError(
                f"{place}: damaged: its crc32 is {found:08x}, the index says {row['crc32']:08x}; "
                f"run `ganlab data check {self.index.folder}`, and pack the data anew"
            )
        try:
            out[:] = shrink(decode(data, self.index.image), *out.shape[:2])
        except ValueError as error:
            raise UserError(f"{place}: {error}") from error
        return int(row["label"])

    def _map(self, shard: int) -> mmap.mmap:
        with self.lock:
            if shard not in self.maps:
                with (self.index.folder / self.index.shards[shard].name).open("rb") as file:
                    self.maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return self.maps[shard]


class BatchLoader:
    """An endless stream of (images uint8 [n, c, h, w], labels int64 [n]), this rank's slices of the global batches.

    The global batch after `nimg` images is positions [nimg, nimg + batch) of the order, cut contiguously by rank, where
    `plan(nimg)` says how many and how large they are. Every iteration begins anew at `start`: where it is, is the
    trainer's to know, never the loader's.
    """

    def __init__(
        self,
        index: Index,
        *,
        plan: Callable[[int], Phase],
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
    ) -> None:
        if threads < 1:
            raise UserError(f"machine.decode_threads: {threads} threads decode nothing; write at least 1")
        self.reader, self.order = Reader(index), Order(len(index), seed)
        self.plan, self.start, self.rank, self.world_size, self.threads = plan, start, rank, world_size, threads

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Decode ahead and yield, for ever."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="decode") as pool:
            waiting: deque[Future[tuple[Tensor, Tensor]]] = deque()
            nimg = self.start
            try:
                while True:
                    while len(waiting) <= AHEAD:
                        phase = self.plan(nimg)
                        assert phase.batch is not None
                        waiting.append(pool.submit(self._decode, nimg, phase.image, self._share(phase.batch)))
                        nimg += phase.batch
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _share(self, batch: int) -> int:
        if batch % self.world_size:
            raise UserError(f"train.batch: {batch} images cannot be shared equally by {self.world_size} processes")
        return batch // self.world_size

    def _decode(self, nimg: int, image: ImageSpec, share: int) -> tuple[Tensor, Tensor]:
        pixels = np.empty((share, image.height, image.width, image.channels), np.uint8)
        first = nimg + self.rank * share
        samples = self.order(np.arange(first, first + share))
        labels = [self.reader.read(int(sample), out) for sample, out in zip(samples, pixels, strict=True)]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor(labels)
