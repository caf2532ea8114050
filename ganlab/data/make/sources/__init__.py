"""Sources of images for packing."""

import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from braceexpand import braceexpand

from ganlab.data.format.tars import is_shard, packed_by
from ganlab.data.make.account import lines_of
from ganlab.data.make.sources.arrays import open_idx, open_numpy
from ganlab.data.make.sources.base import Source
from ganlab.data.make.sources.classes import NONE
from ganlab.data.make.sources.files import open_folder, open_zip
from ganlab.data.make.sources.kinds import why_not
from ganlab.data.make.sources.lmdbs import open_lmdb
from ganlab.data.make.sources.tars import open_tars
from ganlab.types import UserError

ACCEPTED = (
    "a folder of images (JPEG, PNG, WebP, AVIF, TIFF and what else Pillow reads), in sub-folders by class or in none; "
    "a .zip of images, in sub-folders or with labels in its dataset.json; an images-idx3-ubyte[.gz] file; a .npy or "
    ".npz array of uint8 images; the .tar, or the folder of .tars, of a WebDataset, also as part-{000..127}.tar; an "
    "LMDB as LSUN has it; torchvision:CIFAR10:FOLDER"
)


def open_source(path: str | Path, labels: str | None = None, without: Path | None = None) -> Source:
    """Open a source; UserError lists the accepted forms, or the fault of a file.

    `labels` is the field of each .json of a WebDataset that holds its class, the dataset.json of a folder or zip where
    it is not the only one in it, or `none` for no classes. The folder `without` is not looked into.
    """
    if str(path).startswith("torchvision:") and str(path).count(":") > 1:
        from ganlab.data.make.sources.torchvision_sets import open_torchvision  # its import takes seconds

        source: Source = open_torchvision(str(path), labels)
    else:
        try:
            source = _open_path(Path(path).expanduser(), labels, without)
        except OSError as error:
            raise UserError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    if not len(source):
        left = "".join(f"\n  {line}" for line in lines_of(asdict(source.account))[1:])
        raise UserError(f"{path}: holds no images; give {ACCEPTED}{left}")
    return source


def _open_path(path: Path, labels: str | None, without: Path | None) -> Source:
    try:
        tars = list(map(Path, braceexpand(str(path)))) if path.suffix == ".tar" and not path.is_dir() else []
    except ValueError as error:
        raise UserError(f"{path}: {error}; write a range as {{000..009}} and a list as {{a,b}}") from None
    if absent := [file for file in tars or [path] if not file.exists()]:
        if re.match(r"[a-z][a-z0-9+.-]+:/", str(path)):  # of the two slashes a Path keeps one
            raise UserError(
                f"{path}: a URL, and `data pack` reads files; download it first (of shards that are packed already, "
                "`data.url` takes the URL)"
            )
        raise UserError(f"{absent[0]}: no such file or folder; give {ACCEPTED}")
    if tars:
        return open_tars(path, tars, labels)
    if path.is_dir():
        tars = sorted(file for file in path.iterdir() if is_shard(file.name))
        if tars and ((path / "samples.npy").exists() or not _has_images(path, without)):
            return open_tars(path, tars, labels)
        if (path / "data.mdb").exists():
            return open_lmdb(path)
        return open_folder(path, labels, without)
    return _open_file(path)(path, labels)


def _has_images(folder: Path, without: Path | None) -> bool:
    """Whether a folder of tars is one of images."""
    return bool(open_folder(folder, NONE, without).names)


def _open_tar(path: Path, labels: str | None) -> Source:
    return open_tars(path, [path], labels)


def _open_file(path: Path) -> Callable[[Path, str | None], Source]:
    """Choose by content how to open one file."""
    with path.open("rb") as file:
        head = file.read(512)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            arrays = all(name.endswith(".npy") for name in islice(archive.namelist(), 10))
        return open_numpy if arrays and path.suffix != ".zip" else open_zip
    if head[257:262] == b"ustar":
        return _open_tar
    if path.suffix == ".zip":
        return open_zip
    if head[:6] == b"\x93NUMPY" or path.suffix in (".npy", ".npz"):
        return open_numpy
    plain = path.name.removesuffix(".gz")
    if head[:4] == b"\0\0\x08\x03" or plain.endswith(("idx3-ubyte", "idx3.ubyte")):
        return open_idx
    if packed_by(head):
        return _open_tar
    if not why_not(path.name, lambda: head):
        raise UserError(f"{path}: one image; give the folder that it is in")
    raise UserError(f"{path}: not a source of images; give {ACCEPTED}")
