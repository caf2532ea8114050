"""A description of a dataset: a contact sheet, its classes, and statistics of bytes and pixels."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlab.data.format.faults import BadSampleError
from ganlab.data.format.shards import Index
from ganlab.data.make.account import FIRST, lines_of
from ganlab.data.make.toys import describe_toy
from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.location import parse, redact
from ganlab.data.read.open import is_drawn
from ganlab.pictures.captions import beside, captions_of
from ganlab.pictures.tiles import save_png, tile
from ganlab.progress import Progress
from ganlab.types import ImageSpec, UserError

SHEET_SAMPLES, SHEET_ROWS, SHEET_COLUMNS = 64, 16, 8
"""Largest number of rows and of columns of a contact sheet."""
SHEET_PIXELS = 2048
"""Largest side of a contact sheet, px; larger ones are shrunk."""
FRAME = 128
"""Grey level between the images of a contact sheet: a white picture shows where it ends."""
LOOKED_AT = 4096
"""Number of images, the first ones, for mean and deviation."""


def describe(url: str | Path, contact_sheet: Path | None = None) -> Iterator[str]:
    """Describe a dataset line by line, and draw a few of its images at `contact_sheet`; UserError as `ShardDataset`."""
    if is_drawn(str(url)):
        yield from describe_toy(str(url), contact_sheet or Path("contact-sheet.png"))
        return
    dataset = ShardDataset(url)
    try:
        index, image = dataset.index, dataset.image

        def read(i: int) -> NDArray[np.uint8]:
            pixels = np.empty((image.height, image.width, image.channels), np.uint8)
            dataset.read(i, pixels)
            return pixels

        sheet = contact_sheet or sheet_of(url)
        draw_sheet(index, read, sheet)
        yield f"{redact(str(url))}: {len(index):,} images, {image}"
        yield from class_table(counts_of(index))
        yield from account_of(index)
        total = sum(shard.bytes for shard in index.shards)
        yield f"shards: {len(index.shards):,}, of {total / 1e6:,.1f} MB together"
        levels = zip(index.pyramid, index.members["size"].T, strict=True)
        for height, sizes in [*levels, (image.height, index.samples["size"])]:
            yield (
                f"{height} px: {sizes.mean():,.0f} bytes an image, {sizes.min():,} to {sizes.max():,}, "
                f"{sizes.sum(dtype=np.int64) / 1e6:,.1f} MB"
            )
        looked_at = min(LOOKED_AT, len(index))
        mean, deviation, bad = _moments(read, looked_at)
        good = looked_at - len(bad)
        yield f"mean {_numbers(mean)}, deviation {_numbers(deviation)} of 255, by channel, of {good:,} images"
        yield from map(str, bad[:FIRST])
        yield f"contact sheet: {sheet}"
    finally:
        dataset.close()


def sheet_of(url: str | Path) -> Path:
    """Return the default path of a contact sheet: beside local shards, else in the current folder."""
    place, _ = parse(str(url))
    return Path("contact-sheet.png") if place.scheme else Path(place.base) / "contact-sheet.png"


def counts_of(index: Index) -> dict[str, int]:
    """Count the samples of each class; empty without labels."""
    labels = index.samples["label"]
    counts = np.bincount(labels[labels >= 0], minlength=index.image.classes).tolist()
    return dict(zip(index.class_names, counts, strict=False))


def class_table(counts: dict[str, int]) -> list[str]:
    """Return the counts as text, one class per line."""
    width = max(map(len, counts), default=0)
    return [f"  {name:<{width}}  {count:>9,}" for name, count in counts.items()]


def account_of(index: Index) -> list[str]:
    """Return what an index says of its source, and the classes without an image, as text."""
    lines = lines_of(index.account)
    if empty := index.empty_classes():
        more = ", ..." if len(empty) > FIRST else ""
        lines.append(f"classes without an image: {len(empty):,} ({', '.join(empty[:FIRST])}{more})")
    return lines


def draw_sheet(index: Index, read: Callable[[int], NDArray[np.uint8]], path: Path) -> None:
    """Write a few samples as one picture: one class per row, or the first samples if there are no labels.

    `read` decodes a sample as [height, width, channels]; one that it cannot read stays white.
    """
    if index.image.classes:
        rows = min(index.image.classes, SHEET_ROWS)
        columns = min(SHEET_COLUMNS, SHEET_SAMPLES // rows)
        of_class = [np.flatnonzero(index.samples["label"] == k)[:columns].tolist() for k in range(rows)]
        chosen = [row[column] if column < len(row) else None for row in of_class for column in range(columns)]
    else:
        chosen = list(range(min(SHEET_SAMPLES, len(index))))
        columns = SHEET_COLUMNS
    picture = tile(np.stack([_cell(index.image, read, i) for i in chosen]), columns, FRAME)
    if index.image.classes:
        picture = beside(picture, captions_of(index.image.class_names, range(rows)))
    picture.thumbnail((SHEET_PIXELS, SHEET_PIXELS))
    try:
        save_png(picture, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); give the contact sheet another place"
        ) from error


def _cell(image: ImageSpec, read: Callable[[int], NDArray[np.uint8]], i: int | None) -> NDArray[np.uint8]:
    """Decode one sample; a missing or damaged one is white."""
    if i is not None:
        with suppress(ValueError):
            return read(i)
    return np.full((image.height, image.width, image.channels), 255, np.uint8)


def _moments(
    read: Callable[[int], NDArray[np.uint8]], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[UserError]]:
    """Mean and standard deviation of each channel [c] over the first `count` images; and what is wrong with some."""
    sums, bad = list[Any](), list[UserError]()
    with Progress("looking", count) as progress:
        for i in range(count):
            try:
                pixels = read(i).astype(np.float64)  # h w c
                sums.append((pixels.mean((0, 1)), (pixels**2).mean((0, 1))))
            except BadSampleError as error:
                bad.append(error)
            progress.update(1)
    if not sums:
        raise bad[0]
    mean, square = np.mean(sums, 0)
    return mean, np.sqrt(square - mean**2), bad


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.1f}" for value in values.tolist())
