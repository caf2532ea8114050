"""Images as arrays: idx files of the MNIST layout, and NumPy's."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from PIL import Image

from ganlab.data.format.decode import MODES
from ganlab.data.make.account import Account
from ganlab.data.make.sources.base import Source, stamp_of
from ganlab.data.make.sources.classes import NONE, Classes, numbered
from ganlab.types import UserError

GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Arrays(Source):
    """Images as one array."""

    pixels: NDArray[np.uint8]
    """[n, height, width] or [n, height, width, channels]."""
    files: tuple[Path, ...]
    reopen: Callable[[Path, str | None], "Arrays"]
    asked: str | None
    """The labels that were asked for."""

    def __reduce__(self) -> tuple[Callable[[Path, str | None], "Arrays"], tuple[Path, str | None]]:
        return self.reopen, (self.path, self.asked)  # pickling would copy the memory map

    @property
    def channels(self) -> int:
        """The length of the last axis, 1 without one."""
        return int(self.pixels.shape[3]) if self.pixels.ndim == 4 else 1

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def stamps(self) -> list[Any]:
        """Stamp of the files; an .npz has a checksum of each array."""
        if zipfile.is_zipfile(self.path):
            with zipfile.ZipFile(self.path) as archive:
                return [file.CRC for file in archive.infolist()]
        return list(map(stamp_of, self.files))

    def stamp(self, i: int) -> list[Any]:
        """Stamp the array, and the position in it."""
        return [i, *self.stamps]

    def describe(self, i: int) -> str:
        """Return the array's file and the position in it."""
        return f"{self.path}, image {i}"

    def image(self, i: int) -> Image.Image:
        """Make a picture of one item."""
        pixels = self.pixels[i]
        return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and self.channels == 1 else pixels)

    def mode(self, i: int) -> str:
        """Return the mode of all images."""
        return MODES[self.channels]


def open_idx(path: Path, labels: str | None = None) -> Arrays:
    """Open an idx file of images, compressed or not, with the file of labels beside it if there is one."""
    account, pixels = Account(), _read_idx(path, 3)
    beside = _labels_beside(path)
    if labels == NONE or not beside.exists():
        account.labels = "none, as was asked for" if labels == NONE else f"none: no {beside.name} beside it"
        return Arrays(path, Classes(), account, pixels, (path,), open_idx, labels)
    account.labels = beside.name
    classes = _checked(beside, _read_idx(beside, 1), len(pixels), account)
    return Arrays(path, classes, account, pixels, (path, beside), open_idx, labels)


def _labels_beside(path: Path) -> Path:
    """Return the path of the labels, spelled as the images are, compressed or not; the usual one if none exists."""
    plain = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    usual = path.with_name(plain + path.suffix * (path.suffix == ".gz"))
    spelled = [usual, *(path.with_name(plain + end) for end in ("", ".gz"))]
    return next((file for file in spelled if file.exists() and file != path), usual)


def _checked(
    place: Path, labels: NDArray[Any], count: int, account: Account, names: list[str] | None = None
) -> Classes:
    if labels.shape[:1] != (count,):
        raise UserError(f"{place}: {labels.size} labels for {count} images; give one for each")
    return numbered(place, labels.tolist(), account, names)


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an idx file of bytes: zero, zero, 8 (unsigned byte), dimensions, lengths as big-endian int32, data."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == GZIP else data
        magic, *shape = struct.unpack_from(f">{1 + dimensions}I", data)
        if magic != 0x800 + dimensions:
            raise ValueError(f"begins with {magic:#010x} instead of {0x800 + dimensions:#010x}")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise UserError(
            f"{path}: not a whole idx file of {dimensions} dimensions ({error}); download it again"
        ) from error


def open_numpy(path: Path, labels: str | None = None) -> Arrays:
    """Open an .npy of images, or an .npz of `images` and perhaps `labels` and `class_names`."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays: dict[str, NDArray[Any]] = dict(loaded) if isinstance(loaded, NpzFile) else {"images": loaded}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a readable array ({error}); write it with np.save or np.savez") from error
    if "images" not in arrays:
        raise UserError(f"{path}: holds {', '.join(arrays) or 'no arrays'}; name the images' array `images`")
    pixels = arrays["images"]
    channels = pixels.shape[3:] or (1,)
    if pixels.dtype != np.uint8 or pixels.ndim < 3 or channels not in ((1,), (3,), (4,)) or 0 in pixels.shape[1:]:
        raise UserError(
            f"{path}: images are {pixels.dtype} {list(pixels.shape)}; "
            "expected uint8 [n, height, width] or [n, height, width, 1, 3 or 4]"
        )
    account = Account("`labels` beside the images")
    for name in arrays.keys() - {"images", "labels", "class_names"}:
        account.leave("an array of another name than images, labels, class_names", name)
    if labels == NONE or "labels" not in arrays:
        account.labels = "none, as was asked for" if labels == NONE else "none: no array `labels` beside `images`"
        return Arrays(path, Classes(), account, pixels, (path,), open_numpy, labels)
    names = arrays.get("class_names")
    if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
        raise UserError(f"{path}: class_names are {names.dtype} {list(names.shape)}; expected text [classes]")
    classes = _checked(path, arrays["labels"], len(pixels), account, None if names is None else names.tolist())
    return Arrays(path, classes, account, pixels, (path,), open_numpy, labels)
