"""A dataset by its URL."""

from pathlib import Path
from typing import Any

from ganlab.data.read.base import Dataset
from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.location import parse
from ganlab.data.read.toys import SCHEME, ToyDataset
from ganlab.types import UserError


def open_data(url: str, *, crop: int | None = None, labelled: int | None = None, **reading: Any) -> Dataset:
    """Open shards, or a synthetic dataset (`toy:`); `reading` holds the arguments of `ShardDataset` for their storage.

    Args:
        url: as `ShardDataset` reads it, or as `ToyDataset` does.
        crop: height and width of random crops; None shows whole images.
        labelled: only the first so many images of each class.
    """
    if is_drawn(url):
        return ToyDataset(url, crop=crop, labelled=labelled)
    return ShardDataset(url, crop=crop, labelled=labelled, **reading)


def is_drawn(url: str) -> bool:
    """Tell whether a URL is a toy's, which has no files."""
    return url.startswith(SCHEME)


def refuse_drawn(url: str, what: str) -> None:
    """Refuse a toy where shards are needed to `what` them."""
    if is_drawn(url):
        raise UserError(f"{url}: is drawn, and has no shards to {what}; `ganlab data show` says what it is")


def is_dataset(place: str) -> bool:
    """Tell whether `open_data` reads a place: a toy, another URL, or a folder with an index, or shards in one."""
    folder = Path(place).parent if place.endswith(".tar") and not Path(place).is_dir() else Path(place)
    return is_drawn(place) or "://" in place or (folder / "index.json").is_file()


def is_absent(url: str) -> bool:
    """Tell whether a URL names a local folder that does not exist."""
    if is_drawn(url):
        return False
    place, _ = parse(url)
    return not place.scheme and not Path(place.base).exists()
