"""Where images come from before they are packed: folders, zip files, idx files and arrays."""

import gzip
import json
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ganlab.types import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff", ".gif")
ACCEPTED = (
    f"a folder of images ({' '.join(SUFFIXES)}), in sub-folders by class or in none; a .zip of images, with labels in "
    "its dataset.json; an images-idx3-ubyte[.gz] file; a .npy or .npz array of uint8 images"
)


@dataclass(frozen=True)
class Source(ABC):
    """Images in a fixed order, with or without labels."""

    path: Path
    labels: list[int] | None
    class_names: tuple[str, ...]
    """One for each class; empty without labels."""

    @property
    def name(self) -> str:
        """The file's or folder's own name."""
        return self.path.resolve().name

    @property
    def channels(self) -> int | None:
        """The channels of every image, or None where only the images tell."""
        return None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def describe(self, i: int) -> str:
        """Say where image `i` lies, for a person."""

    @abstractmethod
    def image(self, i: int) -> Image.Image:
        """Decode image `i`, in whatever 8-bit mode it has; UserError names it where it cannot be decoded."""


@dataclass(frozen=True)
class Files(Source):
    """Image files by name, in a folder or a zip."""

    names: list[str]
    open: Callable[[str], IO[bytes]]

    def __len__(self) -> int:
        return len(self.names)

    def describe(self, i: int) -> str:
        """Give the file's path."""
        return f"{self.path}/{self.names[i]}"

    def image(self, i: int) -> Image.Image:
        """Decode a file, upright: as its camera says, not as its sensor lay."""
        try:
            with self.open(self.names[i]) as file, Image.open(file) as picture:
                if picture.mode in ("I", "F"):
                    raise ValueError("32-bit pixels")
                if picture.mode.startswith("I;16"):  # PIL would clip at 255
                    return Image.fromarray((np.array(picture) >> 8).astype(np.uint8))
                return ImageOps.exif_transpose(picture)
        except Exception as error:  # PIL's decoders raise errors of many kinds on damaged and on hostile files
            raise UserError(
                f"{self.describe(i)}: cannot be decoded ({error}); mend or remove it, then pack again"
            ) from error


@dataclass(frozen=True)
class Arrays(Source):
    """Images as one array."""

    pixels: NDArray[np.uint8]
    """[n, height, width] or [n, height, width, channels]."""

    @property
    def channels(self) -> int:
        """The length of the last axis, 1 where there is none."""
        return int(self.pixels.shape[3]) if self.pixels.ndim == 4 else 1

    def __len__(self) -> int:
        return len(self.pixels)

    def describe(self, i: int) -> str:
        """Give the array's file and the position in it."""
        return f"{self.path}, image {i}"

    def image(self, i: int) -> Image.Image:
        """Make a picture of one item."""
        pixels = self.pixels[i]
        return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and self.channels == 1 else pixels)


def open_source(path: str | Path) -> Source:
    """Open images by what the path looks like; UserError says what is accepted, and what is wrong with a file.

    A folder's first-level sub-folders are its classes, in the order of their names.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; give {ACCEPTED}")
    source: Source
    if path.is_dir():
        source = _folder(path)
    elif path.suffix == ".zip":
        source = _zip(path)
    elif path.name.removesuffix(".gz").endswith("images-idx3-ubyte"):
        source = _idx(path)
    elif path.suffix in (".npy", ".npz"):
        source = _arrays(path)
    else:
        raise UserError(f"{path}: not a source of images; give {ACCEPTED}")
    if not len(source):
        raise UserError(f"{path}: holds no images; give {ACCEPTED}")
    return source


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)  # ._x.jpg is no image but its attributes
    return path.suffix.lower() in SUFFIXES and not hidden


def _folder(path: Path) -> Files:
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
    return Files(path, labels, classes, names, lambda name: (path / name).open("rb"))


def _zip(path: Path) -> Files:
    try:
        archive = zipfile.ZipFile(path)
        names = sorted(filter(_is_image, archive.namelist()))
        listed = json.loads(archive.read("dataset.json"))["labels"] if "dataset.json" in archive.namelist() else None
        by_name = None if listed is None else dict(listed)
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a readable zip of images ({error}); its dataset.json, if any, "
            'is {"labels": [[name, class], ...]} or {"labels": null}'
        ) from error
    if by_name is None:
        return Files(path, None, (), names, archive.open)
    if missing := [name for name in names if name not in by_name]:
        raise UserError(f"{path}: {missing[0]} has no entry in dataset.json; label all of the images or none")
    labels = _labels(path, [by_name[name] for name in names], len(names))
    return Files(path, labels, _class_names(path, labels), names, archive.open)


def _idx(path: Path) -> Arrays:
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    pixels = _read_idx(path, 3)
    if not beside.exists():
        return Arrays(path, None, (), pixels)
    labels = _labels(beside, _read_idx(beside, 1).tolist(), len(pixels))
    return Arrays(path, labels, _class_names(beside, labels), pixels)


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an idx file of bytes: zero, zero, 8 (unsigned byte), dimensions, lengths as big-endian int32, data."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        magic, *shape = struct.unpack_from(f">{1 + dimensions}I", data)
        if magic != 0x800 + dimensions:
            raise ValueError(f"begins with {magic:#010x} instead of {0x800 + dimensions:#010x}")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise UserError(
            f"{path}: not a whole idx file of {dimensions} dimensions ({error}); download it again"
        ) from error


def _arrays(path: Path) -> Arrays:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays: dict[str, NDArray[Any]] = dict(loaded) if isinstance(loaded, NpzFile) else {"images": loaded}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable array ({error}); write it with np.save or np.savez") from error
    if "images" not in arrays:
        raise UserError(f"{path}: holds {', '.join(arrays) or 'no arrays'}; name the images' array `images`")
    pixels = arrays["images"]
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] not in (1, 3, 4)):
        raise UserError(
            f"{path}: images are {pixels.dtype} {list(pixels.shape)}; "
            "expected uint8 [n, height, width] or [n, height, width, 1, 3 or 4]"
        )
    if "labels" not in arrays:
        return Arrays(path, None, (), pixels)
    labels = _labels(path, arrays["labels"].tolist(), len(pixels))
    names = [str(name) for name in arrays["class_names"]] if "class_names" in arrays else None
    return Arrays(path, labels, _class_names(path, labels, names), pixels)


def _labels(path: Path, labels: list[Any], count: int) -> list[int]:
    if len(labels) != count:
        raise UserError(f"{path}: {len(labels)} labels for {count} images; give one for each")
    if bad := [label for label in labels if type(label) is not int or not 0 <= label < 2**31]:
        raise UserError(f"{path}: label {bad[0]!r}; give classes as whole numbers from 0")
    return labels


def _class_names(path: Path, labels: list[int], names: Sequence[str] | None = None) -> tuple[str, ...]:
    classes = max(labels, default=-1) + 1
    if names is None:
        return tuple(map(str, range(classes)))
    if len(names) < classes:
        raise UserError(f"{path}: {len(names)} class_names, but a label {classes - 1}; name every class")
    return tuple(names)
