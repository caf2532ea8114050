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

from ganlab.data.make.sources.base import Source, checked_labels, checked_names, stamp_of
from ganlab.types import UserError


@dataclass(frozen=True)
class Arrays(Source):
    """Images as one array."""

    pixels: NDArray[np.uint8]
    """[n, height, width] or [n, height, width, channels]."""
    files: tuple[Path, ...]
    reopen: Callable[[Path], "Arrays"]

    def __reduce__(self) -> tuple[Callable[[Path], "Arrays"], tuple[Path]]:
        return self.reopen, (self.path,)  # pickling would copy the memory map

    @property
    def channels(self) -> int:
        """The length of the last axis, 1 without one."""
        return int(self.pixels.shape[3]) if self.pixels.ndim == 4 else 1

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def stamps(self) -> list[Any]:
        """Stamp of the files; an .npz has a checksum of each array."""
        if self.path.suffix == ".npz":
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


def open_idx(path: Path) -> Arrays:
    """Open an images-idx3-ubyte[.gz] file, with the labels-idx1 file beside it if there is one."""
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    pixels = _read_idx(path, 3)
    if not beside.exists():
        return Arrays(path, None, (), pixels, (path,), open_idx)
    labels = checked_labels(beside, _read_idx(beside, 1).tolist(), len(pixels))
    return Arrays(path, labels, checked_names(beside, labels), pixels, (path, beside), open_idx)


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


def open_numpy(path: Path) -> Arrays:
    """Open an .npy of images, or an .npz of `images` and perhaps `labels` and `class_names`."""
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
        return Arrays(path, None, (), pixels, (path,), open_numpy)
    labels = checked_labels(path, arrays["labels"].tolist(), len(pixels))
    names = [str(name) for name in arrays["class_names"]] if "class_names" in arrays else None
    return Arrays(path, labels, checked_names(path, labels, names), pixels, (path,), open_numpy)
