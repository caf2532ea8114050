"""Checking: every byte of a dataset against its index."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ganlab.data.format.decode import decode_into
from ganlab.data.format.shards import Index, Place
from ganlab.data.format.tars import Contents, walk
from ganlab.data.make.show import account_of, class_table, counts_of, draw_sheet, sheet_of
from ganlab.data.make.writing import CANNOT
from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.location import parse, redact
from ganlab.data.read.open import refuse_drawn
from ganlab.data.read.store import Store
from ganlab.files import sha256_of
from ganlab.progress import Progress
from ganlab.types import ImageSpec, UserError

Read = Callable[[int, int, int], bytes]
"""Bytes of a shard, given its number, an offset and a size."""
LINES = 50
"""Largest number of problems that `Report.lines` lists."""


@dataclass(frozen=True)
class Report:
    """The result of a check."""

    url: str
    image: ImageSpec
    samples: int
    counts: dict[str, int]
    """Samples of each class; empty without labels."""
    problems: list[str]
    """One line per fault, with shard, key, offset and both values."""
    contact_sheet: Path
    account: list[str]
    """What the index says of its source, and the classes without an image."""

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        hidden = len(self.problems) - LINES
        return [
            f"{self.url}: {self.samples:,} images, {self.image}",
            *class_table(self.counts),
            *self.account,
            f"contact sheet: {self.contact_sheet}",
            *self.problems[:LINES],
            *([f"... and {hidden:,} more"] if hidden > 0 else []),
            f"{len(self.problems):,} problems" if self.problems else "no problems",
        ]


def check(url: str | Path, contact_sheet: Path | None = None) -> Report:
    """Read and decode every image of a dataset and every copy of it, and draw a few at `contact_sheet`.

    Damaged shards and samples are all reported; UserError only where there is no index to check against, or the
    contact sheet cannot be written.
    """
    index, store = _open(url)
    failed: dict[int, UserError] = {}

    def read(number: int, offset: int, size: int) -> bytes:
        """Read from a shard; after a failure, raise the same error again without another attempt."""
        if number in failed:
            raise failed[number]
        try:
            return store.read(number, offset, size)
        except UserError as error:
            failed[number] = error
            raise

    try:
        sheet = contact_sheet or sheet_of(url)
        draw_sheet(index, lambda i: _decoded(index, read, i), sheet)
        problems = _strange_labels(index)
        with Progress("checking", len(index)) as progress:
            for number in range(len(index.shards)):
                problems += _check_shard(index, store.folder, read, number, progress)
    finally:
        store.close()
    return Report(redact(str(url)), index.image, len(index), counts_of(index), problems, sheet, account_of(index))


def _open(url: str | Path) -> tuple[Index, Store]:
    """Find the index and the shards; local shards may be damaged."""
    refuse_drawn(str(url), "check")
    place, names = parse(str(url))
    if not place.scheme:
        index = Index.read(place.base)
        if not index.location:
            return index.only(names) if names else index, Store(index.folder, index.shards)
    dataset = ShardDataset(url)
    return dataset.index, dataset.store


def _decoded(index: Index, read: Read, i: int) -> NDArray[np.uint8]:
    place = index.place(i, index.image.height)
    return _decode(index, read(place.shard, place.offset, place.size), index.image.height)


def _decode(index: Index, data: bytes, height: int) -> NDArray[np.uint8]:
    width = index.image.width * height // index.image.height
    pixels = np.empty((height, width, index.image.channels), np.uint8)
    decode_into(data, pixels, index.stored(height), crop=index.crop)
    return pixels


def _strange_labels(index: Index) -> list[str]:
    labels = index.samples["label"]
    low, high = (0, index.image.classes) if index.image.classes else (-1, 0)
    return [
        f"{index.shards[place.shard].name}, {place.sample:09d}: label {place.label}, but the index promises "
        f"{index.image}"
        for place in index.places(np.flatnonzero((labels < low) | (labels >= high)), index.image.height)
    ]


def _check_shard(index: Index, folder: Path, read: Read, number: int, progress: Progress) -> list[str]:
    """Compare one shard with the index: the whole file, its headers, then each image and its copies."""
    shard, first = index.shards[number], int(index.starts[number])
    path = folder / shard.name
    try:
        read(number, 0, 1)  # downloads a remote shard
    except UserError as error:
        progress.update(shard.samples)
        return [str(error)]
    problems = []
    if (size := path.stat().st_size) != shard.bytes:
        problems.append(f"{shard.name} has {size:,} bytes instead of {shard.bytes:,}")
    if shard.sha256 and (found := sha256_of(path)) != shard.sha256:
        problems.append(f"{shard.name}: sha256 {found[:12]}... instead of {shard.sha256[:12]}...")
    if not index.resize:  # keys and classes of other programs are not checked
        try:
            problems += _compare(index, number, walk(path))
        except UserError as error:
            problems.append(str(error))
    heights = (*index.pyramid, index.image.height)
    rows = np.arange(first, first + shard.samples)
    for places in zip(*(index.places(rows, height) for height in heights), strict=True):
        for place, height in zip(places, heights, strict=True):
            problems += _check_image(index, read, place, height)
        progress.update(1)
    return problems


def _check_image(index: Index, read: Read, place: Place, height: int) -> list[str]:
    shard, data = index.shards[place.shard], read(place.shard, place.offset, place.size)
    copy = f" ({height} px)" if height < index.image.height else ""
    where = f"{shard.name}, {place.sample:09d}{copy} at byte {place.offset:,}"
    if shard.sha256 and (found := isal_zlib.crc32(data)) != place.crc32:
        return [f"{where}: crc32 {found:08x} instead of {place.crc32:08x}"]
    try:
        _decode(index, data, height)
    except ValueError as error:
        return [f"{where}: {error}"]
    return []


def _compare(index: Index, number: int, found: Contents) -> list[str]:
    """Compare the headers of a shard with the index, without reading the images."""
    name, first, count = index.shards[number].name, int(index.starts[number]), index.shards[number].samples
    if len(found.keys) != count:
        return [f"{name}: {len(found.keys)} images instead of {count}"]
    if found.pyramid != index.pyramid:
        return [f"{name}: copies of {list(found.pyramid)} px instead of {list(index.pyramid)}"]
    problems = []
    if CANNOT not in index.account.get("left_out", {}):  # what was left out has left its number
        keys = enumerate(found.keys, first)
        problems = [f"{name}: key {key} instead of {i:09d}" for i, key in keys if key != f"{i:09d}"]
    rows = slice(first, first + count)
    problems += _differences(name, first, found.samples, index.samples[rows], ("offset", "size", "label"))
    for level, height in enumerate(index.pyramid):
        ours, theirs = index.members[rows, level], found.members[:, level]
        problems += _differences(f"{name}, {height} px", first, theirs, ours, ("offset", "size"))
    return problems


def _differences(
    name: str, first: int, found: NDArray[Any], expected: NDArray[Any], fields: tuple[str, ...]
) -> list[str]:
    return [
        f"{name}, {first + i:09d} at byte {found['offset'][i]:,}: {field} {found[field][i]} in the shard, "
        f"{expected[field][i]} in the index"
        for field in fields
        for i in np.flatnonzero(found[field] != expected[field]).tolist()
    ]
