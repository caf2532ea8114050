"""Packing: images of any source into shuffled shards of one image size; a killed pack resumes, a finished one grows."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlab.data.format.decode import Crop, sides
from ganlab.data.format.shards import Index, read_json, spelled, write_index
from ganlab.data.make.account import Account, Left
from ganlab.data.make.pairs import open_pairs
from ganlab.data.make.recipe import ImageFormat, Recipe, heights
from ganlab.data.make.sources import open_source
from ganlab.data.make.sources.base import GREY, Facts, Source
from ganlab.data.make.writing import CANNOT, Part, divide, write
from ganlab.files import atomic_write, sha256_of
from ganlab.locks import held
from ganlab.types import ImageSpec, UserError

ORIGIN = "origin.npy"
"""File with what identifies each image of the source, uint64 [n]: by it a grown source is told from another."""
OURS = ("pack.json", "pack.json.tmp", "pack.lock")
"""Files besides shards that a folder may contain before it has an index."""


@dataclass(frozen=True)
class Job:
    """A pack: a source, and what is made of it where."""

    source: Source
    dest: Path
    recipe: Recipe
    shard_samples: int
    seed: int
    workers: int
    skip_bad: bool
    facts: Facts
    labels: str | None
    partners: str | None
    """Name of the source of the lower images of pairs."""

    def arguments(self) -> dict[str, Any]:
        """Return what the index keeps, and what must be the same for a pack to go on."""
        return {
            "source": self.source.name,
            "samples": len(self.source),
            **self.recipe.facts(),
            "shard_samples": self.shard_samples,
            "seed": self.seed,
            "state": self.facts.state,
            **({} if self.labels is None else {"labels": self.labels}),
            **({} if self.partners is None else {"with": self.partners}),
        }


def pack(
    source: str | Path,
    dest: Path,
    *,
    size: int | tuple[int, int],
    partners: str | Path | None = None,
    image_format: ImageFormat = "png",
    quality: int = 95,
    channels: int | None = None,
    pyramid: bool = False,
    crop: Crop = "center",
    shard_samples: int = 4096,
    seed: int = 0,
    workers: int = 1,
    labels: str | None = None,
    skip_bad: bool = False,
) -> Index:
    """Write `source` to the folder `dest`: images of one size, in an order drawn by `seed`, `shard_samples` a shard.

    `size` is (height, width), or a square's side, and `crop` what `fit` does with pictures of another shape. PNG and
    WebP are lossless; JPEG has `quality` (1-100) and full colour resolution. `channels` is 1, 3 or 4; None takes an
    array's own, and for files 1 where all are grey, else 3 (alpha is dropped). `pyramid` adds smaller copies of each
    image (`Recipe`). `labels` is as for `open_source`. The bytes do not depend on `workers`, processes that encode.
    With the same arguments a killed pack goes on after its last whole shard (those whose images have changed are made
    again), a finished one is returned as it is, and one whose source has more images than then grows by shards of
    these. Images that cannot be decoded are an error that names all, or are left out (`skip_bad`).

    Each image of `partners`, a source, is packed below the one of `source` that has its name: the dataset's images are
    twice as high as `size`.

    UserError for a source that cannot be read to its end, a `dest` that is being packed to, holds other things or
    cannot be written, and arguments out of range.
    """
    if min(shard_samples, workers) < 1 or seed < 0:
        raise UserError(f"shard_samples {shard_samples}, workers {workers}, seed {seed}: give them from 1, 1 and 0")
    dest = dest.expanduser()
    images = open_source(source, labels, without=dest) if partners is None else open_pairs(source, partners, labels)
    high = 1 if partners is None else 2
    copies = tuple(high * height for height in heights(size)) if pyramid else ()
    facts = images.facts(workers)
    channels = channels or images.channels or _known(dest, facts) or _look(images)
    recipe = Recipe(sides(size), channels, image_format, quality, copies, crop, high == 2)
    with_name = None if partners is None else Path(partners).resolve().name
    job = Job(images, dest, recipe, shard_samples, seed, workers, skip_bad, facts, labels, with_name)
    arguments = job.arguments()
    try:
        if not (dest / "index.json").exists():
            _make(job, None, np.arange(len(images)))
        elif (dest / "pack.json").exists():
            _heal(dest)
        index = Index.open(dest)
        if index.pack.get("state") != arguments["state"] and (dest / ORIGIN).exists():
            _same(dest, index.pack, {**arguments, "samples": index.pack["samples"], "state": index.pack["state"]})
            if len(new := _new_images(job, index)):
                _make(job, index, new)
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


def _known(dest: Path, facts: Facts) -> int | None:
    """Return the channels of a finished pack of this very source; None if there is none."""
    if not (dest / "index.json").exists() or (dest / "pack.json").exists():
        return None
    index = Index.open(dest)
    return index.image.channels if index.pack.get("state") == facts.state else None


def _look(source: Source) -> int:
    """Choose grey or colour: one coloured image makes the whole coloured. Broken ones are told when they are packed."""
    for i in range(len(source)):
        try:
            if source.mode(i) not in GREY:
                return 3
        except UserError:
            continue
    return 1


def _new_images(job: Job, index: Index) -> NDArray[np.int64]:
    """List the images that were not there when the dataset was packed; UserError unless all others still are."""
    origin = _origin(index)
    new = np.flatnonzero(~np.isin(job.facts.each, origin))
    if gone := int((~np.isin(origin, job.facts.each)).sum()):
        raise UserError(
            f"{job.dest}: was packed from a source of which {gone:,} of {len(origin):,} images are gone or "
            f"have changed since, and {len(new):,} are new; a dataset only grows: choose another folder or delete it"
        )
    return new


def _origin(index: Index) -> NDArray[np.uint64]:
    """What identified the images of the source then; a kill while growing may have left more."""
    origin: NDArray[np.uint64] = np.load(index.folder / ORIGIN, allow_pickle=False)[: index.pack["samples"]]
    return origin


def _make(job: Job, old: Index | None, new: NDArray[np.int64]) -> None:
    """Write the shards of the images `new` after those of the dataset `old`, then the index of all."""
    source, dest, each = job.source, job.dest, job.facts.each
    names, labels = _renumbered(source, () if old is None else old.class_names)
    origin = each[:0] if old is None else _origin(old)
    order = new[np.random.Generator(np.random.PCG64(job.seed)).permutation(len(new))]
    parts = divide(job.facts, order, dest, job.shard_samples, (0 if old is None else len(old.shards), len(origin)))
    with _claimed(job, parts, old):
        source.account.note_more([source.describe(i) for i in new.tolist() if source.has_more(i)])
        shards, samples, members = write(source, labels, job.recipe, parts, job.workers, job.skip_bad)
        more: dict[str, Any] = {}
        if old is not None:
            _say_growth(source.account, old, len(samples), names)
            shards = [*old.shards, *shards]
            samples, members = np.concatenate([old.samples, samples]), np.concatenate([old.members, members])
            more["earlier"] = {**old.earlier, old.fingerprint: len(old.shards)}
        more["account"] = asdict(source.account)
        with atomic_write(dest / ORIGIN) as file:
            np.save(file, np.concatenate([origin, each[new]]), allow_pickle=False)
        recipe = job.recipe
        image = ImageSpec(*recipe.shape, recipe.channels, len(names))
        write_index(dest, image, names, shards, samples, job.arguments(), recipe.pyramid, members, more)


def _renumbered(source: Source, old: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.int32] | None]:
    """Return names and labels in which the classes of a grown dataset keep their numbers, and new ones follow."""
    if source.labels is None or not old or source.class_names == old:
        return source.class_names, source.labels
    names = tuple(dict.fromkeys((*old, *source.class_names)))
    number = {name: k for k, name in enumerate(names)}
    return names, np.array([number[name] for name in source.class_names], np.int32)[source.labels]


def _say_growth(account: Account, old: Index, count: int, names: tuple[str, ...]) -> None:
    """Say what has changed since the dataset was packed, and keep what was left out then."""
    broken = old.account.get("left_out", {}).get(CANNOT)
    if broken:
        account.add(Account(left_out={CANNOT: Left(**broken)}))
    shards = len(old.shards)
    account.notes.append(f"grown by {count:,} to {len(old) + count:,}, in new shards after the {shards:,} old ones")
    if old.vectors.size:
        account.notes.append("the vectors are of the old images alone: add those of all with `ganlab data vectors`")
    account.note("new classes, numbered after the others", list(names[len(old.class_names) :]))
    account.notes.append(
        f"a run that has begun before goes on with the old ones by data.url={spelled(old.folder, shards)}, and takes "
        "the new ones with --allow-change data.fingerprint"
    )


@contextmanager
def _claimed(job: Job, parts: list[Part], old: Index | None) -> Iterator[None]:
    """Lock `dest` against other packs, and remove the shards whose images have changed since an earlier one.

    `pack.json` says that the files there are ours, and of which pack.
    """
    dest, arguments = job.dest, job.arguments()
    dest.mkdir(parents=True, exist_ok=True)
    claim = dest / "pack.json"
    foreign = sorted(file.name for file in dest.iterdir() if file.name not in OURS)
    if foreign and not claim.exists() and old is None:
        raise UserError(f"{dest}: holds other files ({', '.join(foreign[:3])}); choose a new or empty folder")
    with held(dest / "pack.lock", str(dest), "wait until that `ganlab data pack` ends, or stop it"):
        if claim.exists():
            begun = json.loads(claim.read_bytes())
            _same(dest, begun, {**arguments, "samples": begun.get("samples"), "state": begun.get("state")})
            kept = {part.path.name for part, state in zip(parts, begun["states"], strict=False) if part.state == state}
            kept |= {shard.name for shard in old.shards} if old is not None else set()
            for path in dest.glob("shard-*.tar"):
                if path.name not in kept:
                    path.unlink()
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


def _heal(dest: Path) -> None:
    """After a kill between the files of a grown index, cut its arrays to the images that index.json still has."""
    fields = read_json(dest)
    count = sum(shard["samples"] for shard in fields["shards"])
    for name in ("samples", "pyramid"):
        path, sha256 = dest / f"{name}.npy", fields.get(f"{name}_sha256")
        if sha256 and path.is_file() and sha256_of(path) != sha256:
            rows = np.load(path, allow_pickle=False)[:count]
            with atomic_write(path) as file:
                np.save(file, rows, allow_pickle=False)
