"""Packing: images of any source into shuffled shards of one image size; a killed pack resumes."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganlab.data.format.decode import Crop, sides
from ganlab.data.format.shards import Index, Shard, write_index
from ganlab.data.format.tars import Contents, walk
from ganlab.data.make.recipe import ImageFormat, Recipe, encoded, heights
from ganlab.data.make.sources import open_source
from ganlab.data.make.sources.base import Source, state_of
from ganlab.files import atomic_write, sha256_of
from ganlab.progress import Progress
from ganlab.types import ImageSpec, UserError


@dataclass(frozen=True)
class Part:
    """One shard to write."""

    path: Path
    first: int
    """Number of its first sample in the dataset."""
    chosen: list[int]
    """Numbers of its images in the source."""
    state: str
    """Their hash from `state_of`."""


LOOKED_AT = 64
"""Number of images, spread over the source, whose modes decide between grey and colour."""
OURS = ("pack.json", "pack.json.tmp", "pack.lock")
"""Files besides shards that a folder may contain before it has an index."""


def pack(
    source: str | Path,
    dest: Path,
    *,
    size: int | tuple[int, int],
    image_format: ImageFormat = "png",
    quality: int = 95,
    channels: int | None = None,
    pyramid: bool = False,
    crop: Crop = "center",
    shard_samples: int = 4096,
    seed: int = 0,
    workers: int = 1,
) -> Index:
    """Write `source` to the folder `dest`: images of one size, in an order drawn by `seed`, `shard_samples` a shard.

    `size` is (height, width), or a square's side, and `crop` what `fit` does with pictures of another shape. PNG and
    WebP are lossless; JPEG has `quality` (1-100) and full colour resolution. `channels` is 1, 3 or 4; None takes an
    array's own, and for files 1 where 64 of them, spread over the source, are all grey, else 3 (alpha is dropped).
    `pyramid` adds smaller copies of each image (`Recipe`). The bytes do not depend on `workers`, processes that encode.
    With the same arguments a killed pack goes on after its last whole shard (those whose images have changed are made
    again), and a finished one is returned as it is. UserError for a source that cannot be read to its end, a `dest`
    that is being packed to, holds other things or cannot be written, and arguments out of range.
    """
    if min(shard_samples, workers) < 1 or seed < 0:
        raise UserError(f"shard_samples {shard_samples}, workers {workers}, seed {seed}: give them from 1, 1 and 0")
    images = open_source(source)
    channels = channels or images.channels or _look(images)
    size = sides(size)
    recipe = Recipe(size, channels, image_format, quality, heights(size) if pyramid else (), crop)
    facts = images.facts()
    parts = _divide(facts, dest, shard_samples, seed)
    arguments = {
        "source": images.name,
        "samples": len(images),
        **recipe.facts(),
        "shard_samples": shard_samples,
        "seed": seed,
        "state": state_of(facts),
    }
    try:
        if not (dest / "index.json").exists():
            with _claimed(dest, arguments, parts):
                _pack(images, dest, recipe, parts, workers, arguments)
        index = Index.open(dest)
        _same(dest, index.pack, arguments)
        for name in OURS:
            (dest / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{dest}: cannot be written ({error.strerror}); make room there or choose another folder, "
            "then run the same command: whole shards are kept"
        ) from error
    return index


def _look(source: Source) -> int:
    """Choose grey or colour."""
    modes = {source.image(i).mode for i in range(0, len(source), -(-len(source) // LOOKED_AT))}
    return 1 if modes <= {"1", "L", "LA"} else 3


def _divide(facts: list[Any], dest: Path, shard_samples: int, seed: int) -> list[Part]:
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(facts)).tolist()
    parts = []
    for number, first in enumerate(range(0, len(order), shard_samples)):
        chosen = order[first : first + shard_samples]
        parts.append(Part(dest / f"shard-{number:06d}.tar", first, chosen, state_of([facts[i] for i in chosen])))
    return parts


@contextmanager
def _claimed(dest: Path, arguments: Mapping[str, Any], parts: list[Part]) -> Iterator[None]:
    """Lock `dest` against other packs, and remove the shards whose images have changed since an earlier one.

    `pack.json` says that the files there are ours, and of which pack.
    """
    dest.mkdir(parents=True, exist_ok=True)
    claim = dest / "pack.json"
    foreign = sorted(file.name for file in dest.iterdir() if file.name not in OURS)
    if foreign and not claim.exists():
        raise UserError(f"{dest}: holds other files ({', '.join(foreign[:3])}); choose a new or empty folder")
    with (dest / "pack.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases it when the process dies
        except BlockingIOError:
            raise UserError(f"{dest}: another `ganlab data pack` is writing to it; wait for it, or end it") from None
        if claim.exists():
            begun = json.loads(claim.read_bytes())
            _same(dest, begun, {**arguments, "state": begun.get("state")})
            for part, state in zip(parts, begun["states"], strict=True):
                if part.state != state:
                    part.path.unlink(missing_ok=True)
        with atomic_write(claim) as file:
            file.write(json.dumps({**arguments, "states": [part.state for part in parts]}, indent=1).encode())
        yield


def _same(dest: Path, found: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    arguments = json.loads(json.dumps(arguments))  # as JSON returns them: a tuple becomes a list
    found = {"crop": "center", **found}  # there was no choice before
    if differing := [
        f"{name} {found.get(name)!r} there, {value!r} here"
        for name, value in arguments.items()
        if found.get(name) != value
    ]:
        raise UserError(
            f"{dest}: was begun with other arguments: {'; '.join(differing)}; choose another folder or delete this one"
        )


def _pack(
    source: Source, dest: Path, recipe: Recipe, parts: list[Part], workers: int, arguments: Mapping[str, Any]
) -> None:
    todo = [i for part in parts if not part.path.exists() for i in part.chosen]
    shards: list[Shard] = []
    contents: list[Contents] = []
    with (
        Progress("packing", len(source), done=len(source) - len(todo)) as progress,
        encoded(source, recipe, todo, workers) as samples,
    ):
        for part in parts:
            if not part.path.exists():
                _write_shard(part, source.labels, samples, progress)
            contents.append(_read_back(part, source.labels, recipe))
            shards.append(Shard(part.path.name, part.path.stat().st_size, len(part.chosen), sha256_of(part.path)))
    image = ImageSpec(*recipe.size, recipe.channels, len(source.class_names))
    samples_of_all = np.concatenate([found.samples for found in contents])
    members_of_all = np.concatenate([found.members for found in contents])
    write_index(dest, image, source.class_names, shards, samples_of_all, arguments, recipe.pyramid, members_of_all)


def _write_shard(part: Part, labels: list[int] | None, samples: Iterator[dict[str, bytes]], progress: Progress) -> None:
    """Write the WebDataset layout: one member KEY.SUFFIX per file of a sample, suffixes in order."""
    from webdataset import TarWriter  # imports torch, so only after all checks

    # No time or machine name is written: the same pack gives the same bytes.
    with (
        atomic_write(part.path) as file,
        TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False) as tar,
    ):
        for key, i in enumerate(part.chosen, part.first):
            label = {} if labels is None else {"cls": str(labels[i]).encode()}
            tar.write({"__key__": f"{key:09d}", **next(samples), **label})
            progress.update(1)


def _read_back(part: Part, labels: list[int] | None, recipe: Recipe) -> Contents:
    """Index a shard, and check its samples, since an earlier pack may have written it."""
    found = walk(part.path)
    expected = [f"{key:09d}" for key in range(part.first, part.first + len(part.chosen))]
    classes = [-1 if labels is None else labels[i] for i in part.chosen]
    if (found.keys, found.samples["label"].tolist(), found.pyramid) != (expected, classes, recipe.pyramid):
        raise UserError(f"{part.path}: does not hold samples {expected[0]} to {expected[-1]} of this source; delete it")
    return found
