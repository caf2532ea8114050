"""Indexing shards of another program in place, as a dataset."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ganlab.data.format.decode import Crop, other_shape, sides
from ganlab.data.format.pictures import check_depth, has_more, open_picture, orientation
from ganlab.data.format.shards import Index, Shard, write_index
from ganlab.data.format.tars import SAMPLE
from ganlab.data.make.account import Account, lines_of, listed, printable
from ganlab.data.make.sources.classes import NONE, Classes
from ganlab.data.make.sources.members import Images, Read, images_of
from ganlab.data.make.sources.names import Names
from ganlab.data.make.sources.tars import classes_in
from ganlab.data.read.location import Location, parse, redact
from ganlab.data.read.retries import Patience
from ganlab.data.read.transfer import RemoteFile, list_shards
from ganlab.files import sha256_of
from ganlab.progress import Progress
from ganlab.types import ImageSpec, UserError

BLOCK = 2**16
"""Bytes fetched at a header: with small images they include the next headers."""
AT_ONCE = 16
"""Shards that are read in parallel."""


@dataclass(frozen=True)
class Found:
    """One shard and its images."""

    shard: Shard
    images: Images
    refused: list[str]
    """What its crop refuses, with the reason; of shards on this machine."""


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
        crop: how images of another shape are brought to that size: see `fit`. What `none` refuses is an error, or a bad
            sample of shards on another machine.
        labels: field of each sample's .json that holds its class, a number or a name; None takes the .cls files, or
            where there are none the sub-folders in the tars; `none` leaves classes out.

    Raises:
        UserError: a tar is damaged, holds other things than one image a key, or `out` is needed or taken.
    """
    shape = sides(size)
    place, names = parse(url)
    dest = _destination(place, out)
    patience = patience or Patience()
    names = names or list_shards(place, patience)
    with Progress("indexing", len(names), unit="shards") as progress, ThreadPoolExecutor(AT_ONCE) as pool:

        def look(name: str) -> Found:
            found = _look(place, name, labels, patience, shape if crop == "none" else None)
            progress.update(1)
            return found

        shards = list(pool.map(look, names))
    if refused := [line for found in shards for line in found.refused]:
        raise UserError(
            f"{len(refused):,} images are of another shape:{listed(refused)}\n"
            "write --crop center (cut them) or --crop fit (pad them)"
        )
    account = Account()
    classes, samples = together([found.images for found in shards], redact(url), labels, account)
    more: dict[str, Any] = {"resize": True, "crop": crop, "account": asdict(account)}
    if place.scheme or dest.resolve() != Path(place.base).resolve():
        more["location"] = place.url("") if place.scheme else str(Path(place.base).resolve())
    image = ImageSpec(*shape, channels, len(classes.names))
    pack = {"indexed": redact(url), "labels": labels}
    try:
        dest.mkdir(parents=True, exist_ok=True)
        write_index(dest, image, classes.names, [found.shard for found in shards], samples, pack, more=more)
    except OSError as error:
        raise UserError(f"{dest}: cannot be written ({error.strerror}); name another folder with --out") from error
    return Index.read(dest)


def together(images: list[Images], place: str, labels: str | None, account: Account) -> tuple[Classes, NDArray[Any]]:
    """Number the classes of all shards, and return one `SAMPLE` per image [n]; UserError where there is none."""
    for found in images:
        account.add(found.account)
    samples = np.zeros(sum(len(found.places) for found in images), SAMPLE)
    if not len(samples):
        left = "".join(f"\n  {line}" for line in lines_of(asdict(account))[1:])
        raise UserError(f"{place}: {len(images)} shards without an image in them{left}")
    values = [value for found in images for value in found.values]
    names = Names(name for found in images for name in found.names)
    classes = classes_in(place, values, names, labels, account)
    for column, name in enumerate(("offset", "size", "crc32")):
        np.concatenate([found.places[:, column] for found in images], out=samples[name], casting="unsafe")
    samples["label"] = -1 if classes.labels is None else classes.labels
    return classes, samples


def _destination(place: Location, out: Path | None) -> Path:
    if place.scheme and out is None:
        raise UserError(f"{place}: nothing can be written there; name a folder for the index with --out FOLDER")
    dest = out.expanduser() if out is not None else Path(place.base)
    if (dest / "index.json").exists():
        raise UserError(f"{dest}: has an index.json; delete it to index again, or name another folder with --out")
    return dest


def _look(place: Location, name: str, labels: str | None, patience: Patience, shape: tuple[int, int] | None) -> Found:
    """List the images of one shard. `shape` is the height and width that images are to have, up to their scale."""
    field = None if labels == NONE else labels
    if place.scheme:
        remote = RemoteFile(place, name, patience)
        images = images_of(io.BufferedReader(remote, BLOCK), f"{place}{name}", field, lambda *_: 0, cheap=False)
        return Found(Shard(name, remote.size, len(images.names), ""), images, [])
    path = Path(place.base) / name
    broken, several, refused = list[str](), list[str](), list[str]()

    def checked(member: str, read: Read) -> int:
        data = read()
        try:
            with open_picture(io.BytesIO(data)) as picture:
                several.extend([f"{name}/{member}"] * has_more(picture))
                check_depth(picture)
                seen = picture.size if orientation(picture) > 4 else (picture.height, picture.width)
            if shape is not None and (why := other_shape(seen, shape)):
                refused.append(f"{name}/{printable(member)}: {why}")
        except Exception:  # PIL raises errors of many kinds on damaged files
            broken.append(f"{name}/{member}")
        return int(isal_zlib.crc32(data))

    try:
        with path.open("rb") as file:
            images = images_of(file, path, field, checked)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; is it the right name?") from error
    images.account.note_more(several)
    images.account.note("bad samples, which cannot be decoded", broken)
    return Found(Shard(name, path.stat().st_size, len(images.names), sha256_of(path)), images, refused)
