"""The members of one shard: images, classes and smaller copies, found without decoding."""

import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ganlab.types import UserError

SAMPLE = np.dtype([("offset", "<i8"), ("size", "<i4"), ("crc32", "<u4"), ("label", "<i4")])
"""Where an image's bytes lie in its shard, their crc32, and its class (-1: none)."""
MEMBER = np.dtype([("offset", "<i8"), ("size", "<i4"), ("crc32", "<u4")])
"""The same for a smaller copy of an image."""
Entry = tuple[str, str, tarfile.TarInfo, Callable[[], bytes]]
"""Key, suffix and header of a file in a tar, and a function that reads its bytes."""
IMAGE_SUFFIXES = ("png", "jpg", "webp")
LEVEL = re.compile(r"r(\d{3,})\.(png|jpg|webp)")
"""Name of a smaller copy: `KEY.r032.png` has a height of 32 px."""
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""Programs that compress tars, by the first bytes that they write."""
REMEDY = "copy it again from where it was packed, or pack the dataset again"


@dataclass(frozen=True, eq=False)
class Contents:
    """The members of one shard."""

    keys: list[str]
    samples: NDArray[Any]
    """One `SAMPLE` per image [n]."""
    pyramid: tuple[int, ...]
    members: NDArray[Any]
    """One `MEMBER` per image and height of the pyramid [n, levels]."""


def is_shard(name: str) -> bool:
    """Whether a file of this name is a shard; a hidden one, such as ._a.tar, holds attributes of another file."""
    return name.endswith(".tar") and not name.startswith(".")


def packed_by(head: bytes) -> str:
    """Name the program that has compressed a file of these first bytes; empty for none."""
    return next((program for mark, program in COMPRESSED.items() if head.startswith(mark)), "")


def walk(path: Path) -> Contents:
    """List the images of one shard without decoding them.

    Raises UserError, with shard and member, for a damaged tar, unknown members, and images with different pyramids.
    """
    copies: dict[int, dict[str, tuple[int, int, int]]] = {0: {}}  # by height; 0 is the image itself
    labels: dict[str, int] = {}
    for key, suffix, member, read in members_of(path):
        level = LEVEL.fullmatch(suffix)
        if suffix == "cls":
            if key in labels:
                raise _bad(path, member.name, f"a second class for key {key}")
            labels[key] = label_of(path, member, read())
        elif suffix in IMAGE_SUFFIXES or level:
            data = read()
            images = copies.setdefault(int(level[1]) if level else 0, {})
            if key in images or not data:
                raise _bad(path, member.name, f"a second image for key {key}" if data else "an image of 0 bytes")
            images[key] = (member.offset_data, len(data), isal_zlib.crc32(data))
    images = copies.pop(0)
    if orphans := labels.keys() - images.keys():
        raise _bad(path, min(orphans) + ".cls", "a class without an image")
    for height, others in copies.items():
        if differing := others.keys() ^ images.keys():
            key = min(differing)
            raise _bad(path, f"{key}.r{height:03d}", "a copy without its image" if key in others else "is missing")
    pyramid = tuple(sorted(copies))
    samples = np.array([(*place, labels.get(key, -1)) for key, place in images.items()], SAMPLE)
    small = np.array([[copies[height][key] for height in pyramid] for key in images], MEMBER)
    return Contents(list(images), samples, pyramid, small.reshape(len(images), len(pyramid)))


def members_of(path: Path) -> Iterator[Entry]:
    """Yield each member up to the end of the tar, which `tarfile` does not for damaged tars."""
    with path.open("rb") as file:
        yield from members_in(file, path)


def members_in(file: io.BufferedReader, path: object) -> Iterator[Entry]:
    """Yield the members of an open tar; `path` is its name in messages."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(6)
    if head.startswith(b"PK"):
        raise UserError(f"{path}: a zip, not a tar; rename it to .zip")
    if program := packed_by(head):
        raise UserError(
            f"{path}: compressed with {program}, so nothing can be read from its middle; unpack it, for example "
            "with `tar xf`, and give the folder of images, or decompress it to a plain .tar"
        )
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:

            def read() -> bytes:
                file.seek(member.offset_data)
                return file.read(member.size)

            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # tarfile would keep all of them in memory
                if member.isdir():
                    continue
                parts = member.name.split("/")
                if remedy := _remedy(member):
                    raise _bad(path, member.name, "not an ordinary file inside the folder", remedy)
                if not 0 <= member.size <= size - member.offset_data:
                    raise _bad(path, member.name, f"{member.size:,} bytes at {member.offset_data:,}, past the end")
                stem, _, suffix = parts[-1].partition(".")
                yield "/".join([*parts[:-1], stem]), suffix, member, read
            # tarfile takes a damaged header for the end of the archive, and would silently drop the rest.
            file.seek(tar.offset)
            padded = size - tar.offset >= 2 * tarfile.BLOCKSIZE and not any(
                map(any, iter(partial(file.read, 2**20), b""))
            )
    except tarfile.TarError as error:
        raise UserError(f"{path}: damaged ({error}); {REMEDY}") from error
    if not padded:
        raise UserError(f"{path}: no valid header at byte {tar.offset:,} of {size:,}; {REMEDY}")


def label_of(path: object, member: tarfile.TarInfo, data: bytes) -> int:
    """Read the class in a .cls member."""
    if not data.isdigit() or len(data) > 9:
        raise _bad(path, member.name, f"{data[:20]!r} where one class is expected, as digits")
    return int(data)


def _remedy(member: tarfile.TarInfo) -> str:
    """Say how to write a tar in which this member is an ordinary file inside the folder; empty where it is."""
    parts = member.name.split("/")
    if ".." in parts or not parts[0]:
        return "write the tar from inside the folder of its files: tar -C FOLDER -cf NAME.tar ."
    if member.issym():
        return "write the tar with `tar -h`, which writes the files that links lead to"
    if member.islnk():
        return "write the tar with `tar --hard-dereference`, which writes a file for each of its names"
    if member.issparse():
        return "write the tar without --sparse"
    return "" if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else "write the tar without it"


def _bad(path: object, member: str, cause: str, remedy: str = REMEDY) -> UserError:
    return UserError(f"{path}: member {member}: {cause}; {remedy}")
