"""Do the threads that decode slow the thread that trains? A training thread's Python and torch work per step, alone and
beside a loader whose threads decode without a pause, both limited to their own cores by the system.

The training thread is bound to one core and the decoders to others, so that they share only the interpreter's lock (and
memory bandwidth). It needs at least two cores.
"""

import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from ganlab.data import BatchLoader, ShardDataset
from ganlab.data.make.pack import pack
from ganlab.types import Phase

SIZE, BATCH = 256, 32


def steps(count: int) -> float:
    """Many small operations, as eager training on a GPU launches them; return seconds."""
    weights = [torch.randn(8, 8) for _ in range(20)]
    start = time.perf_counter()
    for _ in range(count):
        x = torch.ones(8, 8)
        for weight in weights:
            x = torch.tanh(x @ weight + x)
    return time.perf_counter() - start


def decode_for_ever(folder: Path, cores: list[int], stop: threading.Event, counted: list[int]) -> None:
    """Read batches on the other cores until told to stop."""
    os.sched_setaffinity(threading.get_native_id(), cores)
    dataset = ShardDataset(folder)
    phase = Phase(0, dataset.image, BATCH)
    for _ in BatchLoader(dataset, plan=lambda _: phase, seed=0, threads=len(cores)):  # threads inherit the cores
        counted[0] += BATCH
        if stop.is_set():
            return


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--count", default=4000, show_default=True, help="Steps in a repeat.")
def main(rounds: int, count: int) -> None:
    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(threading.get_native_id(), cores[:1])
    threads = len(cores) - 1
    with tempfile.TemporaryDirectory() as name:
        draw = np.random.default_rng(0)
        coarse = draw.integers(0, 256, (256, 32, 32, 3), np.uint8)
        images = [np.array(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for image in coarse]
        np.save(Path(name) / "images.npy", np.stack(images))
        pack(Path(name) / "images.npy", Path(name) / "shards", size=SIZE, image_format="jpeg", quality=92)
        alone, beside, rate = [], [], []
        for _ in range(rounds):
            alone.append(steps(count))
            stop, counted = threading.Event(), [0]
            reader = threading.Thread(target=decode_for_ever, args=(Path(name) / "shards", cores[1:], stop, counted))
            reader.start()
            while not counted[0]:
                time.sleep(0.01)
            before = counted[0]
            beside.append(steps(count))
            rate.append((counted[0] - before) / beside[-1])
            stop.set()
            reader.join()
    ratios = [b / a for a, b in zip(alone, beside, strict=True)]
    images_per_second = statistics.median(rate)
    print(f"{threads} decoding threads, {images_per_second:,.0f} images/s of {SIZE} px, torch {torch.__version__}")
    print(f"a step alone {min(alone) / count * 1e6:.0f} us, beside the decoders {min(beside) / count * 1e6:.0f} us")
    print(f"time per step, beside / alone: {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")


if __name__ == "__main__":
    main()
