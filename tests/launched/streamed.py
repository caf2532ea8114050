"""A process of its own that reads a stream of images; `tests/data/test_streaming.py` compares what it read."""

import hashlib
from pathlib import Path
from typing import Any

from ganlab.data import BatchLoader, ShardDataset
from ganlab.data.read.retries import Patience
from ganlab.types import Phase

WINDOW, SAMPLES, BATCH = 2, 48, 8


def opened(url: str, cache: Path, **options: Any) -> ShardDataset:
    """Open a dataset without much patience."""
    patience = Patience(answer=1.0, total=3.0, pause=0.01)
    return ShardDataset(url, cache=cache, patience=patience, **{"window": WINDOW, **options})


def stream(dataset: ShardDataset, images: int = 2 * SAMPLES, world_size: int = 1, **options: Any) -> str:
    """Hash images and labels, two epochs of them; the ranks' shares put together."""
    hashed, phase = hashlib.sha256(), Phase(0, dataset.image, BATCH)
    loaders = [
        iter(BatchLoader(dataset, plan=lambda _: phase, seed=1, rank=rank, world_size=world_size, **options))
        for rank in range(world_size)
    ]
    for _ in range(images // BATCH):
        shares = [next(loader) for loader in loaders]
        for parts in zip(*shares, strict=True):
            for part in parts:
                hashed.update(part.contiguous().numpy().tobytes())
    return hashed.hexdigest()


def open_and_stream(url: str, cache: Path) -> str:
    """Do both."""
    return stream(opened(url, cache))
