"""Indexing shards of another program in place, as a dataset."""

import io
import json
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib

from ganlab.data.format.decode import Crop, sides
from ganlab.data.format.shards import Index, Shard, write_index
from ganlab.data.format.tars import LEVEL, SAMPLE, label_of, members_in
from ganlab.data.read.location import Location, parse, redact
from ganlab.data.read.transfer import Patience, RemoteFile, list_shards
from ganlab.files import sha256_of
from ganlab.progress import Progress
from ganlab.types import ImageSpec, UserError

SUFFIXES = ("png", "jpg", "jpeg", "webp")
BLOCK = 2**16
"""Bytes fetched at a header: with small images they include the next headers."""
AT_ONCE = 16
"""Shards that are read in parallel."""


@dataclass(frozen=True)
class Found:
    """One shard: where its images lie, and their classes as written (None: no class)."""

    shard: Shard
    samples: list[tuple[int, int, int]]
    classes: list[int | str | None]


def index(
    url: str,
    out: Path | None = None,
    *,
    size: int | tuple[int, int],
    crop: Crop = "center",
    channels: int = 3,
    labels: str | None = None,
    patience: Patience | None = None,
) -> Index:
    """Index WebDataset tars of images of any size, which are cropped and resized when they are decoded.

    Shards on this machine are read whole, for their checksums; of others only the headers and labels are, by ranges.
    The index goes beside the shards, or to the folder `out`, whose index then says where the shards lie.

    Args:
        url: the shards' folder, or some of them, as `ShardDataset` reads it.
        size, channels: of the images of the dataset; `size` is (height, width), or a square's side.
        crop: how images of another shape are brought to that size: see `fit`. What `none` refuses is a bad sample.
        labels: field of each sample's .json that holds its class, a number or a name; None takes the .cls files.

    Raises:
        UserError: a tar is damaged, holds other things than one image a key, or `out` is needed or taken.
    """
    place, names = parse(url)
    dest = _destination(place, out)
    patience = patience or Patience()
    names = names or list_shards(place, patience)
    with Progress("indexing", len(names), unit="shards") as progress, ThreadPoolExecutor(AT_ONCE) as pool:

        def look(name: str) -> Found:
            found = _look(place, name, labels, patience)
            progress.update(1)
            return found

        shards = list(pool.map(look, names))
    if not any(found.samples for found in shards):
        raise UserError(f"{place}: {len(shards)} shards without an image ({', '.join(SUFFIXES)}) in them")
    class_names, numbers = _classes([value for found in shards for value in found.classes], str(place))
    rows = [place for found in shards for place in found.samples]
    samples = np.array([(*row, number) for row, number in zip(rows, numbers, strict=True)], SAMPLE)
    elsewhere: dict[str, Any] = {"resize": True, "crop": crop}
    if place.scheme or dest.resolve() != Path(place.base).resolve():
        elsewhere["location"] = place.url("") if place.scheme else str(Path(place.base).resolve())
    image = ImageSpec(*sides(size), channels, len(class_names))
    pack = {"indexed": redact(url), "labels": labels}
    try:
        dest.mkdir(parents=True, exist_ok=True)
        write_index(dest, image, class_names, [found.shard for found in shards], samples, pack, elsewhere=elsewhere)
    except OSError as error:
        raise UserError(f"{dest}: cannot be written ({error.strerror}); name another folder with --out") from error
    return Index.read(dest)


def _destination(place: Location, out: Path | None) -> Path:
    if place.scheme and out is None:
        raise UserError(f"{place}: nothing can be written there; name a folder for the index with --out FOLDER")
    dest = out if out is not None else Path(place.base)
    if (dest / "index.json").exists():
        raise UserError(f"{dest}: has an index.json; delete it to index again, or name another folder with --out")
    return dest


def _look(place: Location, name: str, labels: str | None, patience: Patience) -> Found:
    if place.scheme:
        remote = RemoteFile(place, name, patience)
        samples, classes = _list(io.BufferedReader(remote, BLOCK), f"{place}{name}", labels, lambda _: 0)
        return Found(Shard(name, remote.size, len(samples), ""), samples, classes)
    path = Path(place.base) / name
    try:
        with path.open("rb") as file:
            samples, classes = _list(file, path, labels, lambda read: isal_zlib.crc32(read()))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; is it the right name?") from error
    return Found(Shard(name, path.stat().st_size, len(samples), sha256_of(path)), samples, classes)


def _list(
    file: io.BufferedReader, shard: object, labels: str | None, crc32: Callable[[Callable[[], bytes]], int]
) -> tuple[list[tuple[int, int, int]], list[int | str | None]]:
    images: dict[str, tuple[int, int, int]] = {}
    classes: dict[str, int | str | None] = {}
    for key, suffix, member, read in members_in(file, shard):
        if suffix == ("cls" if labels is None else "json"):
            if key in classes:
                raise UserError(f"{shard}: member {member.name}: a second class for key {key}")
            classes[key] = label_of(shard, member, read()) if labels is None else _field(shard, member, read(), labels)
        elif suffix.rpartition(".")[2].lower() in SUFFIXES and not LEVEL.fullmatch(suffix):
            if key in images:
                raise UserError(f"{shard}: member {member.name}: a second image for key {key}; a dataset has one a key")
            images[key] = (member.offset_data, member.size, crc32(read))
    return list(images.values()), [classes.get(key) for key in images]


def _field(shard: object, member: tarfile.TarInfo, data: bytes, name: str) -> int | str | None:
    try:
        value = json.loads(data).get(name)
    except (ValueError, AttributeError) as error:
        raise UserError(f"{shard}: member {member.name}: not a JSON object ({error})") from error
    if value is None or isinstance(value, str) or (type(value) is int and 0 <= value < 2**31):
        return value
    raise UserError(f"{shard}: member {member.name}: {name} is {value!r}, no class: neither a number from 0 nor a name")


def _classes(values: list[int | str | None], place: str) -> tuple[tuple[str, ...], list[int]]:
    """Number the classes: names in sorted order, numbers unchanged, -1 for none."""
    given: set[Any] = set(values) - {None}
    if all(isinstance(value, int) for value in given):
        return tuple(map(str, range(max(given, default=-1) + 1))), [-1 if v is None else int(v) for v in values]
    if not all(isinstance(value, str) for value in given):
        raise UserError(f"{place}: some classes are numbers, others names; give one kind")
    number = {name: k for k, name in enumerate(sorted(given))}
    return tuple(number), [-1 if value is None else number[str(value)] for value in values]
