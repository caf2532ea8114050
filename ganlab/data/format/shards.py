"""The shard format: WebDataset tars in a folder, with an index beside them.

A dataset is a folder of `shard-000000.tar`, ..., `samples.npy` (where each image lies, over all shards in order),
`pyramid.npy` (where its smaller copies lie, if there are any) and `index.json`, which is written last: its presence
marks the dataset as complete.
"""

import bisect
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganlab.classes import names_in
from ganlab.data.format.decode import Crop
from ganlab.data.format.tars import MEMBER, REMEDY, SAMPLE
from ganlab.files import atomic_write, sha256_of
from ganlab.types import ImageSpec, UserError

FORMAT = 1
NO_MEMBERS = np.empty((0, 0), MEMBER)
NO_VECTORS = np.empty((0, 0), np.float32)
VECTORS, VECTOR = "vectors.npy", np.dtype("<f4")
NAMED_AT_MOST = 5
"""Largest number of damaged shards that a message names."""


@dataclass(frozen=True)
class Shard:
    """One tar file; `bytes` and `sha256` are of the whole file."""

    name: str
    bytes: int
    samples: int
    sha256: str
    """Empty if only its headers were read: then the crc32 of its images are unknown too."""


class Place(NamedTuple):
    """Where one image, or a smaller copy of it, lies."""

    sample: int
    shard: int
    offset: int
    size: int
    crc32: int
    label: int


@dataclass(frozen=True, eq=False)
class Index:
    """The index of a packed dataset: its images and where they lie."""

    folder: Path
    image: ImageSpec
    class_names: tuple[str, ...]
    shards: tuple[Shard, ...]
    samples: NDArray[Any]
    """One `SAMPLE` per image [n], shard after shard, memory-mapped."""
    fingerprint: str
    """A hash that changes with any sample or shard."""
    pack: Mapping[str, Any]
    """The arguments that the dataset was packed with."""
    pyramid: tuple[int, ...] = ()
    """Heights of the smaller copies of every image, ascending."""
    members: NDArray[Any] = field(default_factory=lambda: NO_MEMBERS)
    """One `MEMBER` per image and height [n, levels], memory-mapped."""
    location: str = ""
    """The URL of the shards, if they are not in `folder`."""
    resize: bool = False
    """The images have any size and are resized to `image` when they are decoded."""
    crop: Crop = "center"
    """How they are brought to its shape then."""
    vectors: NDArray[np.float32] = field(default_factory=lambda: NO_VECTORS)
    """Numbers for each image [n, d], memory-mapped; d is 0 if there are none."""
    account: Mapping[str, Any] = field(default_factory=dict)
    """What the source left out, and where its classes come from; empty where nobody has written it down."""
    earlier: Mapping[str, int] = field(default_factory=dict)
    """Numbers of shards, the first ones, that were the whole dataset before it grew, by its fingerprint then."""

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def pairs(self) -> bool:
        """Whether each image is two, one above the other."""
        return bool(self.pack.get("with"))

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The first sample of each shard."""
        counts = np.array([shard.samples for shard in self.shards], np.int64)
        return np.cumsum(counts) - counts

    def places(self, samples: NDArray[np.int64], height: int) -> list[Place]:
        """Return where samples lie: the smallest copy of each with at least `height` px, or the image itself."""
        level = bisect.bisect_left(self.pyramid, height)
        own = np.asarray(self.samples)[samples]
        rows = np.asarray(self.members)[samples, level] if level < len(self.pyramid) else own
        shards = np.searchsorted(self.starts, samples, side="right") - 1
        columns = (samples, shards, rows["offset"], rows["size"], rows["crc32"], own["label"])
        return list(map(Place, *(column.tolist() for column in columns)))

    def place(self, i: int, height: int) -> Place:
        """Return where one sample lies."""
        return self.places(np.array([i]), height)[0]

    def stored(self, height: int) -> tuple[int, int] | None:
        """Height and width of the images at `places`; None if they have any size."""
        if self.resize:
            return None
        level = bisect.bisect_left(self.pyramid, height)
        found = self.pyramid[level] if level < len(self.pyramid) else self.image.height
        return found, self.image.width * found // self.image.height

    def empty_classes(self) -> list[str]:
        """Name the classes without an image."""
        counts = np.zeros(self.image.classes, np.int64)
        for first in range(0, len(self), 2**20):  # 100 million labels at once would take gigabytes
            labels = self.samples["label"][first : first + 2**20]
            counts += np.bincount(labels[labels >= 0], minlength=len(counts))[: len(counts)]
        return [self.class_names[k] for k in np.flatnonzero(counts == 0).tolist()]

    def only(self, names: Sequence[str]) -> "Index":
        """Return the index of some of the shards, in this order; UserError for unknown shards.

        Consecutive shards, `{000..099}`, are a view of this index; otherwise the rows are copied. All that were there
        before the dataset grew have the fingerprint that it had then.
        """
        numbers = {shard.name: number for number, shard in enumerate(self.shards)}
        if missing := [name for name in names if name not in numbers]:
            raise UserError(f"{self.folder}: has no {', '.join(missing[:NAMED_AT_MOST])}; {len(numbers)} others")
        shards = tuple(self.shards[numbers[name]] for name in names)
        chosen = [numbers[name] for name in names]
        rows: slice | NDArray[np.int64]
        if chosen == list(range(chosen[0], chosen[-1] + 1)):  # a range stays memory-mapped and shared by all processes
            rows = slice(int(self.starts[chosen[0]]), int(self.starts[chosen[-1]]) + shards[-1].samples)
        else:
            rows = np.concatenate([self.starts[k] + np.arange(self.shards[k].samples) for k in chosen])
        before = [fingerprint for fingerprint, count in self.earlier.items() if chosen == list(range(count))]
        return replace(
            self,
            shards=shards,
            samples=self.samples[rows],
            members=self.members[rows] if self.pyramid else self.members,
            vectors=self.vectors[rows] if self.vectors.size else self.vectors,
            fingerprint=before[0]
            if before
            else hashlib.sha256(json.dumps([self.fingerprint, *names]).encode()).hexdigest(),
            earlier={},
        )

    @classmethod
    def open(cls, folder: Path | str) -> "Index":
        """Read the index and check that every shard exists; UserError names what is missing or does not match."""
        index = cls.read(folder)
        index.refuse_damaged()
        return index

    @classmethod
    def read(cls, folder: Path | str) -> "Index":
        """Read the index without checking the shards; UserError as for `open`, except for shards."""
        folder = Path(folder)
        fields = read_json(folder)
        try:
            shards = tuple(Shard(**shard) for shard in fields["shards"])
            if any(Path(shard.name).name != shard.name for shard in shards):
                raise ValueError("a shard outside the folder")
            count = sum(shard.samples for shard in shards)
            class_names, pack = tuple(fields["class_names"]), dict(fields["pack"])
            image = ImageSpec(**fields["image"], class_names=names_in(class_names))
            pyramid = tuple(fields.get("pyramid", ()))
            if list(pyramid) != sorted({height for height in pyramid if 0 < height < image.height}):
                raise ValueError(f"a pyramid of {list(pyramid)}")
            sha256 = [fields["samples_sha256"], *([fields["pyramid_sha256"]] if pyramid else [])]
            dims = int(fields.get("vectors", 0))
            sha256 += [fields["vectors_sha256"]] if dims else []
            location, resize = str(fields.get("location", "")), bool(fields.get("resize", False))
            crop = fields.get("crop", "center")
            account, earlier = dict(fields.get("account", {})), dict(fields.get("earlier", {}))
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(folder, error) from error
        arrays = [_read_array(folder / "samples.npy", sha256[0], SAMPLE, (count,))]
        if pyramid:
            arrays += [_read_array(folder / "pyramid.npy", sha256[1], MEMBER, (count, len(pyramid)))]
        vectors = _read_array(folder / VECTORS, sha256[-1], VECTOR, (count, dims)) if dims else NO_VECTORS
        cut = [] if crop == "center" else [crop]  # it changes the pixels, and old runs know no other
        fingerprint = hashlib.sha256(json.dumps([*sha256, *map(asdict, shards), *cut]).encode()).hexdigest()
        members = arrays[1] if pyramid else NO_MEMBERS
        if location and "://" not in location:
            folder, location = Path(location), ""
        rest = (pack, pyramid, members, location, resize, crop, vectors, account, earlier)
        return cls(folder, image, class_names, shards, arrays[0], fingerprint, *rest)

    def refuse_damaged(self) -> None:
        """Raise UserError unless every shard exists."""
        if damaged := self.damaged_shards():
            more = f", and {len(damaged) - NAMED_AT_MOST} more" if len(damaged) > NAMED_AT_MOST else ""
            raise UserError(f"{self.folder}: {', '.join(damaged[:NAMED_AT_MOST])}{more}; {REMEDY}")

    def damaged_shards(self) -> list[str]:
        """Name each shard that is missing or whose size differs from the index."""
        damaged = []
        for shard in self.shards:
            path = self.folder / shard.name
            if not path.is_file():
                damaged.append(f"{shard.name} is missing")
            elif (size := path.stat().st_size) != shard.bytes:
                damaged.append(f"{shard.name} has {size:,} bytes instead of {shard.bytes:,}")
        return damaged


def spelled(url: object, count: int) -> str:
    """Return the URL of the first `count` packed shards of a folder."""
    return f"{str(url).rstrip('/')}/shard-{{{0:06d}..{count - 1:06d}}}.tar"


def write_index(
    folder: Path,
    image: ImageSpec,
    class_names: tuple[str, ...],
    shards: list[Shard],
    samples: NDArray[Any],
    pack: Mapping[str, Any],
    pyramid: tuple[int, ...] = (),
    members: NDArray[Any] = NO_MEMBERS,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Complete a dataset: write `samples.npy`, `pyramid.npy` if there is a pyramid, then `index.json`.

    `more` holds the index's `account` and `earlier`, and for shards of other programs its `location`, `resize` and
    `crop`.
    """
    fields = {
        "format": FORMAT,
        "image": {name: value for name, value in asdict(image).items() if name != "class_names"},
        "class_names": class_names,
        "shards": [asdict(shard) for shard in shards],
        "samples_sha256": _write_array(folder / "samples.npy", samples),
        "pack": pack,
    }
    if pyramid:
        fields |= {"pyramid": pyramid, "pyramid_sha256": _write_array(folder / "pyramid.npy", members)}
    fields |= more or {}
    fields["sha256"] = _signature(fields)
    with atomic_write(folder / "index.json") as file:
        file.write(json.dumps(fields, indent=1).encode())


def write_vectors(folder: Path, vectors: NDArray[np.float32]) -> None:
    """Add numbers for each image [n, d], in the order of the index, to a dataset; they replace earlier ones."""
    fields = read_json(folder)
    fields |= {"vectors": vectors.shape[1], "vectors_sha256": _write_array(folder / VECTORS, vectors.astype(VECTOR))}
    fields["sha256"] = _signature(fields)
    with atomic_write(folder / "index.json") as file:
        file.write(json.dumps(fields, indent=1).encode())


def _write_array(path: Path, array: NDArray[Any]) -> str:
    with atomic_write(path) as file:
        np.save(file, array, allow_pickle=False)
    return sha256_of(path)


def _signature(fields: Mapping[str, Any]) -> str:
    """Hash the values of index.json, whatever its formatting, without its own hash."""
    signed = {name: value for name, value in fields.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(signed, sort_keys=True).encode()).hexdigest()


def read_json(folder: Path) -> dict[str, Any]:
    """Read a folder's index.json; UserError as for `Index.read`, except for its contents."""
    path = folder / "index.json"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; pack one with `ganlab data pack SOURCE {folder} --size N`")
    if not path.is_file():
        if any(folder.glob("*.tar")):
            raise UserError(
                f"{folder}: shards without index.json, so not all of them may be there; "
                "finish with the same `ganlab data pack` command that began them, or, if another program wrote them, "
                f"run `ganlab data index {folder} --size N`"
            )
        raise UserError(f"{folder}: no shards; pack some with `ganlab data pack SOURCE DEST --size N`")
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        found = fields["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(folder, error) from error
    if found != FORMAT:
        raise UserError(f"{path}: format {found!r}, but this ganlab reads format {FORMAT}; pack the dataset again")
    if fields.get("sha256", _signature(fields)) != _signature(fields):  # the first indexes had none
        raise _malformed(folder, ValueError("changed since it was written: its sha256 is another"))
    return fields


def _malformed(folder: Path, error: Exception) -> UserError:
    cause = f"no {error}" if isinstance(error, KeyError) else str(error)
    return UserError(f"{folder / 'index.json'}: malformed ({cause}); {REMEDY}")


def _read_array(path: Path, sha256: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    remedy = f"copy {path.name} and index.json together from where they were packed"
    if not path.is_file():
        raise UserError(f"{path}: missing; {remedy}")
    # Some 20 bytes a sample: 0.1 s for ten million. An index of another dataset would give wrong pixels and labels.
    found = sha256_of(path)
    if found != sha256:
        raise UserError(
            f"{path}: sha256 {found[:12]}..., but index.json says {str(sha256)[:12]}...: "
            f"damaged, or the index of another dataset; {remedy}"
        )
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype != dtype or array.shape != shape:
        raise UserError(f"{path}: {array.shape} of {array.dtype}, but index.json has {shape} of {dtype}; {remedy}")
    return array
