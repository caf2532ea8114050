"""Images as files: in a folder, in a zip, in the tars of a WebDataset, in an LMDB."""

import io
import json
import zipfile
from abc import abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ganlab.data.format.tars import label_of, members_of
from ganlab.data.make.sources.base import Source, checked_labels, checked_names, stamp_of
from ganlab.types import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff", ".gif")


@dataclass(frozen=True)
class Files(Source):
    """Image files by name."""

    names: list[str]

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # another process opens its own

    def __len__(self) -> int:
        return len(self.names)

    def describe(self, i: int) -> str:
        """Give the file's path."""
        return f"{self.path}/{self.names[i]}"

    @abstractmethod
    def open(self, i: int) -> Any:
        """Open file `i` to read its bytes."""

    def image(self, i: int) -> Image.Image:
        """Decode a file, rotated as its EXIF orientation says."""
        try:
            with self.open(i) as file, Image.open(file) as picture:
                if picture.mode in ("I", "F"):
                    raise ValueError("32-bit pixels")
                if picture.mode.startswith("I;16"):  # PIL would clip at 255
                    return Image.fromarray((np.array(picture) >> 8).astype(np.uint8))
                return ImageOps.exif_transpose(picture)
        except Exception as error:  # PIL's decoders raise errors of many kinds on damaged and on hostile files
            raise UserError(
                f"{self.describe(i)}: cannot be decoded ({error}); mend or remove it, then pack again"
            ) from error


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)  # ._x.jpg holds attributes, not an image
    return path.suffix.lower() in SUFFIXES and not hidden


@dataclass(frozen=True)
class Folder(Files):
    """Files in a folder."""

    def open(self, i: int) -> Any:
        """Open file `i` to read its bytes."""
        return (self.path / self.names[i]).open("rb")

    def stamp(self, i: int) -> list[Any]:
        """Stamp the file."""
        return [self.names[i], *stamp_of(self.path / self.names[i])]


def open_folder(path: Path) -> Folder:
    """List the images of a folder; its first-level sub-folders are its classes, in the order of their names."""
    files = (file.relative_to(path).as_posix() for file in path.rglob("*"))
    names = sorted(filter(_is_image, files))
    loose = [name for name in names if "/" not in name]
    if loose and len(loose) < len(names):
        raise UserError(
            f"{path}: {len(loose)} of {len(names)} images ({loose[0]}, ...) lie outside the sub-folders; "
            "put all in sub-folders, one a class, or none"
        )
    classes = () if loose else tuple(sorted({name.split("/")[0] for name in names}))
    number = {name: k for k, name in enumerate(classes)}
    labels = [number[name.split("/")[0]] for name in names] if classes else None
    return Folder(path, labels, classes, names)


@dataclass(frozen=True)
class Zip(Files):
    """Files in a zip."""

    @cached_property
    def archive(self) -> zipfile.ZipFile:
        """The open zip."""
        return zipfile.ZipFile(self.path)

    def open(self, i: int) -> Any:
        """Open file `i` to read its bytes."""
        return self.archive.open(self.names[i])

    def stamp(self, i: int) -> list[Any]:
        """Take the checksum that a zip has of each file."""
        return [self.names[i], self.archive.getinfo(self.names[i]).CRC]


def open_zip(path: Path) -> Zip:
    """List the images of a zip, with labels in its dataset.json."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(filter(_is_image, archive.namelist()))
            listed = (
                json.loads(archive.read("dataset.json"))["labels"] if "dataset.json" in archive.namelist() else None
            )
            by_name = None if listed is None else dict(listed)
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a readable zip of images ({error}); its dataset.json, if any, "
            'is {"labels": [[name, class], ...]} or {"labels": null}'
        ) from error
    if by_name is None:
        return Zip(path, None, (), names)
    if missing := [name for name in names if name not in by_name]:
        raise UserError(f"{path}: {missing[0]} has no entry in dataset.json; label all of the images or none")
    labels = checked_labels(path, [by_name[name] for name in names], len(names))
    return Zip(path, labels, checked_names(path, labels), names)


@dataclass(frozen=True)
class Tars(Files):
    """Files in the tars of a WebDataset."""

    tars: list[Path]
    places: list[tuple[int, int, int]]
    """Tar, offset and bytes of each file."""

    def describe(self, i: int) -> str:
        """Give the tar and the member."""
        return f"{self.tars[self.places[i][0]]}/{self.names[i]}"

    def open(self, i: int) -> Any:
        """Open file `i`, read already."""
        tar, offset, size = self.places[i]
        with self.tars[tar].open("rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size))

    @cached_property
    def stamps(self) -> list[Any]:
        """Of the tars."""
        return list(map(stamp_of, self.tars))

    def stamp(self, i: int) -> list[Any]:
        """Stamp the tar, and the place in it."""
        return [*self.places[i], *self.stamps[self.places[i][0]]]


def open_tars(path: Path, tars: list[Path]) -> Tars:
    """List the images in tars of one image a key; a .cls beside each, or beside none, is its class."""
    names, places, labels = list[str](), list[tuple[int, int, int]](), list[int]()
    for number, tar in enumerate(tars):
        images: dict[str, tuple[str, tuple[int, int, int]]] = {}
        classes: dict[str, int] = {}
        for key, suffix, member, read in members_of(tar):
            if suffix == "cls":
                classes[key] = label_of(tar, member, read())
            elif f".{suffix.lower()}" in SUFFIXES:
                if key in images:
                    raise UserError(f"{tar}: member {member.name}: a second image for key {key}; leave one of them")
                images[key] = (member.name, (number, member.offset_data, member.size))
        if classes and (missing := images.keys() - classes.keys()):
            raise UserError(f"{tar}: {min(missing)} has no .cls; label all of the images or none")
        names += [name for name, _ in images.values()]
        places += [place for _, place in images.values()]
        labels += [classes[key] for key in images if classes]
    if not labels:
        return Tars(path, None, (), names, tars, places)
    labels = checked_labels(path, labels, len(names))
    return Tars(path, labels, checked_names(path, labels), names, tars, places)


@dataclass(frozen=True)
class Lmdb(Files):
    """Files in an LMDB, as LSUN ships its categories: image files by arbitrary keys, without labels."""

    @cached_property
    def reading(self) -> Any:
        """A read transaction."""
        return _lmdb(self.path).begin()

    def open(self, i: int) -> Any:
        """Open file `i`, read already."""
        return io.BytesIO(self.reading.get(self.names[i].encode("latin1")))

    @cached_property
    def whole(self) -> list[Any]:
        """The stamp of the database."""
        return stamp_of(self.path / "data.mdb")

    def stamp(self, i: int) -> list[Any]:
        """Stamp the database, and the key in it."""
        return [self.names[i], *self.whole]


def _lmdb(path: Path) -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise UserError(f"{path}: an LMDB, which needs a package more: pip install lmdb") from error
    try:
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise UserError(f"{path}: not a readable LMDB ({error}); copy or download it again") from error


def open_lmdb(path: Path) -> Lmdb:
    """List the keys of a folder that holds a data.mdb."""
    with _lmdb(path) as environment, environment.begin() as reading, reading.cursor() as cursor:
        names = [key.decode("latin1") for key in cursor.iternext(keys=True, values=False)]
    return Lmdb(path, None, (), names)
