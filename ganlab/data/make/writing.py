"""Writing shards: which image goes into which, and what is done about those that cannot be decoded."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlab.data.format.shards import Shard
from ganlab.data.format.tars import Contents, walk
from ganlab.data.make.account import NAMED_AT_MOST, listed
from ganlab.data.make.recipe import Made, Recipe, encoded
from ganlab.data.make.sources.base import MEND, Facts, Source
from ganlab.files import atomic_write, sha256_of
from ganlab.progress import Progress
from ganlab.types import UserError

CANNOT = "cannot be packed"
"""Why `skip_bad` leaves an image out."""


@dataclass(frozen=True)
class Part:
    """One shard to write."""

    path: Path
    first: int
    """Number of its first sample in the dataset."""
    chosen: NDArray[np.int64]
    """Numbers of its images in the source."""
    state: str
    """What identifies them."""


class Broken(Exception):  # noqa: N818 (not an error: it ends a shard that cannot be finished)
    """A shard has images that cannot be decoded."""


def divide(
    facts: Facts, order: NDArray[np.int64], dest: Path, shard_samples: int, before: tuple[int, int]
) -> list[Part]:
    """Divide images, in this order, into shards that follow as many shards and samples as were there `before`."""
    shards, samples = before
    parts = []
    for number, first in enumerate(range(0, len(order), shard_samples), shards):
        chosen = order[first : first + shard_samples]
        parts.append(Part(dest / f"shard-{number:06d}.tar", samples + first, chosen, facts.of(chosen)))
    return parts


def write(
    source: Source,
    labels: NDArray[np.int32] | None,
    recipe: Recipe,
    parts: Sequence[Part],
    workers: int,
    skip_bad: bool,
) -> tuple[list[Shard], NDArray[Any], NDArray[Any]]:
    """Write the shards that are not there yet, and read all of them back: return them, their samples and their members.

    Images that cannot be decoded are left out with `skip_bad`, and counted in the source's account; otherwise their
    shards are not written, all others are, and UserError names them together.
    """
    todo = np.concatenate([part.chosen for part in parts if not part.path.exists()] or [np.empty(0, np.int64)])
    total = sum(len(part.chosen) for part in parts)
    bad: list[UserError] = []
    shards, samples, members = list[Shard](), list[NDArray[Any]](), list[NDArray[Any]]()
    with (
        Progress("packing", total, done=total - len(todo)) as progress,
        encoded(source, recipe, todo, workers) as made,
    ):
        for part in parts:
            if not part.path.exists():
                bad += _write_shard(part, labels, made, progress, skip_bad)
            if part.path.exists():
                found = _read_back(part, source, labels, recipe, skip_bad)
                samples.append(found.samples)
                members.append(found.members)
                shards.append(Shard(part.path.name, part.path.stat().st_size, len(found.keys), sha256_of(part.path)))
    if bad and not (skip_bad and shards):
        lines = listed([str(error).removesuffix(MEND) for error in bad])
        raise UserError(
            f"{len(bad):,} of {total:,} pictures cannot be packed:{lines}\nmend them and run the same command, "
            "which then makes only the missing shards; or remove them, or leave them out with --skip-bad"
        )
    return shards, np.concatenate(samples), np.concatenate(members)


def _write_shard(
    part: Part, labels: NDArray[np.int32] | None, pictures: Iterator[Made], progress: Progress, skip_bad: bool
) -> list[UserError]:
    """Write the WebDataset layout: one member KEY.SUFFIX per file of a sample, suffixes in order.

    Returns the errors of the images that cannot be decoded. A shard without an image is not written.
    """
    from webdataset import TarWriter  # imports torch, so only after all checks

    bad: list[UserError] = []
    # No time or machine name is written: the same pack gives the same bytes.
    with (
        suppress(Broken),
        atomic_write(part.path) as file,
        TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False) as tar,
    ):
        for key, i in enumerate(part.chosen.tolist(), part.first):
            made = next(pictures)
            progress.update(1)
            if isinstance(made, UserError):
                bad.append(made)
                if len(bad) == 1:
                    progress.print(f"{str(made).removesuffix(MEND)}; going on to find all such")
            elif skip_bad or not bad:
                label = {} if labels is None or labels[i] < 0 else {"cls": str(labels[i]).encode()}
                tar.write({"__key__": f"{key:09d}", **made, **label})
        if bad and (not skip_bad or len(bad) == len(part.chosen)):
            raise Broken
    return bad


def _read_back(
    part: Part, source: Source, labels: NDArray[np.int32] | None, recipe: Recipe, skip_bad: bool
) -> Contents:
    """Index a shard, and check its samples, since an earlier pack may have written it."""
    found = walk(part.path)
    numbers = {f"{key:09d}": i for key, i in enumerate(part.chosen.tolist(), part.first)}
    if skip_bad:
        there = set(found.keys)
        for key in [key for key in numbers if key not in there]:
            source.account.leave(CANNOT, source.describe(numbers.pop(key)), NAMED_AT_MOST)
    classes = [-1 if labels is None else int(labels[i]) for i in numbers.values()]
    if (found.keys, found.samples["label"].tolist(), found.pyramid) != (list(numbers), classes, recipe.pyramid):
        raise UserError(
            f"{part.path}: does not hold samples {part.first:09d} to {part.first + len(part.chosen) - 1:09d} of this "
            "source; delete it, or, if it was packed with --skip-bad, give that again"
        )
    return found
