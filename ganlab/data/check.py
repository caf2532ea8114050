"""Checking: every byte of a packed dataset against its index."""

import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlab.data.decode import decode
from ganlab.data.shards import Contents, Index, sha256_of, walk
from ganlab.pictures import grid, save_png
from ganlab.progress import Progress
from ganlab.types import ImageSpec, UserError

SHEET_SAMPLES, SHEET_ROWS, SHEET_COLUMNS = 64, 16, 8
"""A contact sheet has no more of either."""
SHEET_PIXELS = 2048
"""A larger contact sheet is made smaller."""
LINES = 50
"""Problems that `Report.lines` spells out."""


@dataclass(frozen=True)
class Report:
    """What a check found."""

    folder: Path
    image: ImageSpec
    samples: int
    counts: dict[str, int]
    """Samples of each class; empty without labels."""
    problems: list[str]
    """One for each fault, with shard, key, offset and both values."""
    contact_sheet: Path

    def lines(self) -> list[str]:
        """Say it to a person."""
        width = max(map(len, self.counts), default=0)
        table = [f"  {name:<{width}}  {count:>9,}" for name, count in self.counts.items()]
        hidden = len(self.problems) - LINES
        return [
            f"{self.folder}: {self.samples:,} images, {self.image}",
            *table,
            f"contact sheet: {self.contact_sheet}",
            *self.problems[:LINES],
            *([f"... and {hidden:,} more"] if hidden > 0 else []),
            f"{len(self.problems):,} problems" if self.problems else "no problems",
        ]


def check(folder: Path, contact_sheet: Path | None = None) -> Report:
    """Read and decode every sample of a dataset, and draw a few at `contact_sheet` (default: in `folder`).

    Damaged shards and samples are all reported; UserError only where there is no index to check against, or the
    contact sheet cannot be written.
    """
    index = Index.read(folder)
    sheet = contact_sheet or folder / "contact-sheet.png"
    _draw(index, sheet)
    problems = index.damaged_shards() + _strange_labels(index)
    with Progress("checking", len(index)) as progress:
        for number, shard in enumerate(index.shards):
            if (folder / shard.name).is_file():
                problems += _check_shard(index, number, progress)
    labels = index.samples["label"]
    counts = np.bincount(labels[labels >= 0], minlength=index.image.classes).tolist()
    counts_by_name = dict(zip(index.class_names, counts, strict=False))
    return Report(index.folder, index.image, len(index), counts_by_name, problems, sheet)


def _strange_labels(index: Index) -> list[str]:
    labels = index.samples["label"]
    low, high = (0, index.image.classes) if index.image.classes else (-1, 0)
    return [
        f"{index.shards[index.locate(i)].name}, {i:09d}: label {labels[i]}, but the index promises {index.image}"
        for i in np.flatnonzero((labels < low) | (labels >= high)).tolist()
    ]


def _check_shard(index: Index, number: int, progress: Progress) -> list[str]:
    """Compare one shard with the index: the whole file, its headers, then each image."""
    shard, first = index.shards[number], int(index.starts[number])
    path = index.folder / shard.name
    expected = index.samples[first : first + shard.samples]
    problems = []
    if (found := sha256_of(path)) != shard.sha256:
        problems.append(f"{shard.name}: sha256 {found[:12]}... instead of {shard.sha256[:12]}...")
    try:
        problems += _compare(shard.name, first, expected, walk(path))
    except UserError as error:
        problems.append(str(error))
    with path.open("rb") as file:
        for key, (offset, size, crc32, _) in enumerate(expected.tolist(), first):
            file.seek(offset)
            data = file.read(size)
            place = f"{shard.name}, {key:09d} at byte {offset:,}"
            if (found_crc32 := zlib.crc32(data)) != crc32:
                problems.append(f"{place}: crc32 {found_crc32:08x} instead of {crc32:08x}")
            else:
                try:
                    decode(data, index.image)
                except ValueError as error:
                    problems.append(f"{place}: {error}")
            progress.update(1)
    return problems


def _compare(name: str, first: int, expected: NDArray[Any], contents: Contents) -> list[str]:
    """Compare what the headers of a shard say with the index; the bytes themselves are read elsewhere."""
    found, keys = contents.samples, contents.keys
    if len(found) != len(expected):
        return [f"{name}: {len(found)} images instead of {len(expected)}"]
    problems = [f"{name}: key {key} instead of {i:09d}" for i, key in enumerate(keys, first) if key != f"{i:09d}"]
    for field in ("offset", "size", "label"):
        problems += [
            f"{name}, {first + i:09d} at byte {found['offset'][i]:,}: {field} {found[field][i]} in the shard, "
            f"{expected[field][i]} in the index"
            for i in np.flatnonzero(found[field] != expected[field]).tolist()
        ]
    return problems


def _draw(index: Index, path: Path) -> None:
    """Write a few samples as one picture: a class a row, or the first ones where there are no labels."""
    if index.image.classes:
        rows = min(index.image.classes, SHEET_ROWS)
        columns = min(SHEET_COLUMNS, SHEET_SAMPLES // rows)
        of_class = [np.flatnonzero(index.samples["label"] == k)[:columns].tolist() for k in range(rows)]
        chosen = [row[column] if column < len(row) else None for row in of_class for column in range(columns)]
    else:
        chosen = list(range(min(SHEET_SAMPLES, len(index))))
        columns = SHEET_COLUMNS
    picture = grid(torch.stack([_cell(index, i) for i in chosen]), columns)
    picture.thumbnail((SHEET_PIXELS, SHEET_PIXELS))
    try:
        save_png(picture, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); give the contact sheet another place"
        ) from error


def _cell(index: Index, i: int | None) -> Tensor:
    """Decode one sample as uint8 [channels, height, width]; white where there is none, or a damaged one."""
    pixels = np.full((index.image.height, index.image.width, index.image.channels), 255, np.uint8)
    if i is not None:
        offset, size, _, _ = index.samples[i].tolist()
        with suppress(OSError, ValueError), (index.folder / index.shards[index.locate(i)].name).open("rb") as file:
            file.seek(offset)
            pixels = decode(file.read(size), index.image)
    return torch.from_numpy(pixels).permute(2, 0, 1)
