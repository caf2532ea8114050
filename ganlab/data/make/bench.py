"""Loading speed of a dataset, compared with the bare codec on the same bytes, and where the time goes."""

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ganlab.data.format.decode import decode_into
from ganlab.data.format.shards import Place
from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.loader import AHEAD, BatchLoader
from ganlab.data.read.location import redact
from ganlab.data.read.open import refuse_drawn
from ganlab.progress import Progress
from ganlab.types import ImageSpec, Phase, UserError

BATCH, BATCHES, ROUNDS = 64, 32, 5
"""Images in a batch, batches in a repeat, and repeats, of which the median counts."""


@dataclass(frozen=True)
class Speed:
    """Speed of loading or decoding."""

    rate: float
    """Images per second."""
    cpu: float
    """CPU seconds per image, over all threads of this process."""

    def __str__(self) -> str:
        return f"{self.rate:9,.0f} images/s, {self.cpu * 1e6:7.1f} us of CPU an image"


class Bench:
    """The loader and the bare codec over the same images of a dataset, made `size` px high."""

    def __init__(self, dataset: ShardDataset, size: int | None, threads: int) -> None:
        whole = dataset.image
        height = size or whole.height
        if height > whole.height or height * whole.width % whole.height:
            raise UserError(f"--size {height}: the images are of {whole}; give a smaller size of the same shape")
        self.dataset, self.threads = dataset, threads
        self.image = replace(whole, height=height, width=whole.width * height // whole.height)
        self.places = dataset.index.places(dataset.order(0)(np.arange(BATCH * BATCHES)), height)
        self.stored = dataset.index.stored(height)
        self.data = list(map(self.read, self.places))

    def read(self, place: Place) -> bytes:
        """Fetch the bytes of an image."""
        return self.dataset.store.read(place.shard, place.offset, place.size)

    def loader(self) -> Speed:
        """Let the loader fill batches."""
        phase = Phase(0, self.image, BATCH)
        batches = iter(BatchLoader(self.dataset, plan=lambda _: phase, seed=0, threads=self.threads))
        for _ in islice(batches, AHEAD + 1):  # afterwards equally many batches wait at the start and at the end
            pass
        return _timed(lambda: [None for _ in islice(batches, BATCHES)], BATCH * BATCHES)

    def first_batch(self) -> float:
        """Seconds from the making of a loader to its first batch."""
        start = time.perf_counter()
        phase = Phase(0, self.image, BATCH)
        next(iter(BatchLoader(self.dataset, plan=lambda _: phase, seed=0, threads=self.threads)))
        return time.perf_counter() - start

    def ceiling(self) -> Speed:
        """Decode the same bytes from memory into the same batch, with the same number of threads and nothing else."""
        batch = _empty(self.image, BATCH)

        def decode(first: int) -> None:
            for k in range(first, len(self.data), self.threads):
                decode_into(self.data[k], batch[k % BATCH], self.stored)

        with ThreadPoolExecutor(self.threads) as pool:
            return _timed(lambda: list(pool.map(decode, range(self.threads))), len(self.data))

    def stages(self) -> dict[str, float]:
        """Seconds that one thread takes to read, check, decode and resize one image."""
        (out,) = _empty(self.image, 1)
        times = {
            "read": _cpu(self.read, self.places),
            "check": _cpu(isal_zlib.crc32, self.data),
            "decode": _cpu(lambda data: decode_into(data, out, self.stored), self.data),
        }
        if self.stored not in (None, out.shape[:2]):
            assert self.stored is not None
            height, width = self.stored
            (native,) = _empty(replace(self.image, height=height, width=width), 1)
            both = times["decode"]
            times["decode"] = _cpu(lambda data: decode_into(data, native, self.stored), self.data)
            times["resize"] = both - times["decode"]  # below 0 if a JPEG is decoded at a fraction of its size
        return times


def bench(url: str, *, size: int | None, threads: int) -> Iterator[str]:
    """Yield the report line by line; UserError for a dataset that cannot be read, or a size that does not fit it."""
    refuse_drawn(url, "read")
    dataset = ShardDataset(url)
    try:
        runs = Bench(dataset, size, threads)
        yield f"{redact(url)}: {runs.image}" + (f", from copies of {runs.stored[0]} px" if runs.stored else "")
        yield f"first batch  {runs.first_batch():9.3f} s"
        speeds: dict[str, list[Speed]] = {"loader": [], "ceiling": []}
        with Progress("measuring", ROUNDS * 2 * BATCH * BATCHES) as progress:
            for _ in range(ROUNDS):
                for name, run in (("loader", runs.loader), ("ceiling", runs.ceiling)):
                    speeds[name].append(run())
                    progress.update(BATCH * BATCHES)
        for name, rounds in speeds.items():
            rates = [speed.rate for speed in rounds]
            yield f"{name:<11}  {median(rounds)} ({min(rates):,.0f}-{max(rates):,.0f}, {threads} threads)"
        shares = [a.rate / b.rate for a, b in zip(speeds["loader"], speeds["ceiling"], strict=True)]
        yield f"share        {statistics.median(shares):9.0%} of what decoding alone would reach"
        stages = runs.stages()
        stages["the rest"] = median(speeds["loader"]).cpu - sum(stages.values())  # order, places, labels, batches
        for name, seconds in stages.items():
            yield f"{name:<11}  {seconds * 1e6:9.1f} us of CPU an image, on one thread"
    finally:
        dataset.close()


def median(speeds: list[Speed]) -> Speed:
    """Return the medians."""
    return Speed(statistics.median(s.rate for s in speeds), statistics.median(s.cpu for s in speeds))


def _empty(image: ImageSpec, count: int) -> NDArray[np.uint8]:
    return np.empty((count, image.height, image.width, image.channels), np.uint8)


def _timed(run: Callable[[], object], images: int) -> Speed:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Speed(images / (time.perf_counter() - wall), (time.process_time() - cpu) / images)


def _cpu(run: Callable[[Any], object], items: list[Any]) -> float:
    """Seconds of CPU for one of them."""
    start = time.thread_time()
    for item in items:
        run(item)
    return (time.thread_time() - start) / len(items)
