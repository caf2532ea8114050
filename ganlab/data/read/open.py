"""A dataset by its URL."""

from typing import Any

from ganlab.data.read.base import Dataset
from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.toys import SCHEME, ToyDataset


def open_data(url: str, *, crop: int | None = None, labelled: int | None = None, **reading: Any) -> Dataset:
    """Open shards, or a synthetic dataset (`toy:`); `reading` holds the arguments of `ShardDataset` for their storage.

    Args:
        url: as `ShardDataset` reads it, or as `ToyDataset` does.
        crop: height and width of random crops; None shows whole images.
        labelled: only the first so many images of each class.
    """
    if url.startswith(SCHEME):
        return ToyDataset(url, crop=crop, labelled=labelled)
    return ShardDataset(url, crop=crop, labelled=labelled, **reading)
