"""A dataset of local or remote shards: any image by its number, decoded, from any thread.

Training and evaluation use it, and so can loops that use nothing else of ganlab:

    from ganlab.data import BatchLoader, ShardDataset
    from ganlab.types import Phase

    dataset = ShardDataset("https://example.org/faces/")        # or a folder, or s3://bucket/faces/
    phase = Phase(0, dataset.image, batch=64)
    loader = BatchLoader(dataset, plan=lambda nimg: phase, seed=0, start=0, threads=4)
    for step, (images, labels) in enumerate(loader):            # endless: uint8 [64, c, h, w] and int64 [64]
        if 64 * (step + 1) > 100_000:
            break
        loss = train(images.float() / 127.5 - 1, labels)

To resume, save the number of images seen and pass it as `start`. With several processes pass each its `rank` and
`world_size`: `batch` and the order are those of all processes together.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ganlab.data.format.decode import MAX_PIXELS, decode_into
from ganlab.data.format.faults import BadSample, BadSampleError, Faults
from ganlab.data.format.shards import VECTORS, Index, Place
from ganlab.data.format.tars import REMEDY
from ganlab.data.read.base import Dataset, first_of_labels
from ganlab.data.read.location import Location, parse
from ganlab.data.read.order import WINDOW, Order
from ganlab.data.read.retries import Patience
from ganlab.data.read.store import CachedStore, Store, disk_error, locked, write_at
from ganlab.data.read.transfer import download, fetch
from ganlab.files import atomic_write, cache_folder
from ganlab.types import UserError

CACHE_BYTES = 50_000_000_000
"""Default size limit of a node's cache of remote shards, bytes."""
HEADER = 512
"""Bytes of a tar's header before each file; the first 100 are the name."""


class ShardDataset(Dataset):
    """The images of packed or indexed shards.

    Args:
        url: a folder, or its URL (file, http, https, or what fsspec reads: s3, gs, ...), with the index beside the
            shards; or some of its shards, `{000..009}` for a range and `{a,b}` or `a.tar,b.tar` for a list.
        cache: folder on this node for remote shards; None is $GANLAB_CACHE, or ganlab in ~/.cache.
        cache_bytes: size limit of the cache.
        window: number of shards that are shuffled together.
        max_pixels: images with more pixels count as bad.
        max_bad, max_bad_fraction: number of bad samples that are replaced, or fraction of all, whichever is more.
        crop: height and width of random crops; None shows whole images.
        labelled: only the first so many images of each class, in the order of the index; None is all images.
        patience: timeouts and retries of a source.

    Raises:
        UserError: there is no such dataset, its index is damaged, or the cache cannot hold a window of shards.
    """

    def __init__(
        self,
        url: str | Path,
        *,
        cache: str | Path | None = None,
        cache_bytes: int = CACHE_BYTES,
        window: int = WINDOW,
        max_pixels: int = MAX_PIXELS,
        max_bad: int = 100,
        max_bad_fraction: float = 1e-4,
        crop: int | None = None,
        labelled: int | None = None,
        patience: Patience | None = None,
    ) -> None:
        if window < 1:
            raise UserError(f"data.window: {window} shards hold no images; write at least 1")
        place, names = parse(str(url))
        cache = Path(cache).expanduser() if cache else cache_folder()
        patience = patience or Patience()
        whole = _fetch_index(place, cache, patience) if place.scheme else Index.read(place.base)
        index = whole.only(names) if names else whole
        self.index = index = index if labelled is None else first_of_each(index, labelled)
        self.source = place
        if whole.location:
            self.source, _ = parse(whole.location, f"{whole.folder / 'index.json'}: location")
        self.store: Store
        if self.source.scheme:
            folder = whole.folder if place.scheme else own_folder(cache, whole.fingerprint)
            self.store = CachedStore(
                self.source, index.shards, folder=folder, limit=cache_bytes, window=window, patience=patience
            )
        else:
            index.refuse_damaged()
            self.store = Store(index.folder, index.shards)
        self.window, self.max_pixels, self.vectors = window, max_pixels, index.vectors
        faults = Faults(max(max_bad, int(max_bad_fraction * len(index))))
        super().__init__(index.image, faults, crop=crop, pairs=index.pairs)

    @property
    def fingerprint(self) -> str:
        """The index's."""
        return self.index.fingerprint

    @property
    def unlabelled(self) -> int:
        """Number of images without a class."""
        return int((self.index.samples["label"] < 0).sum())

    def empty_classes(self) -> list[str]:
        """Name the classes without an image."""
        return self.index.empty_classes()

    def __len__(self) -> int:
        return len(self.index)

    def order(self, seed: int) -> Order:
        """Return the order in which a loader shows the images."""
        return Order([shard.samples for shard in self.index.shards], seed, self.window)

    def places(self, samples: NDArray[np.int64], height: int) -> list[Place]:
        """Look them up in the index."""
        return self.index.places(samples, height)

    def expect(self, shards: Iterator[int]) -> None:
        """Download the shards that are needed next."""
        self.store.expect(shards)

    def decode(self, place: Place, out: NDArray[np.uint8]) -> None:
        """Decode the image at `place` into `out`, for whose height the place was looked up.

        Raises:
            BadSampleError: the bytes differ from the indexed ones, or are no image of the expected size.
            UserError: its shard cannot be read, or is damaged as a whole.
        """
        sample, number, offset, size, crc32, _ = place
        data = self.store.read(number, offset, size)
        try:
            if len(data) < size:
                raise ValueError(f"the shard ends after {len(data):,} of its {size:,} bytes")
            if self.index.shards[number].sha256 and (found := isal_zlib.crc32(data)) != crc32:
                raise ValueError(f"its crc32 is {found:08x}, the index says {crc32:08x}")
            decode_into(data, out, self.index.stored(out.shape[0]), self.max_pixels, self.index.crop)
        except ValueError as error:
            name = self.store.read(number, max(0, offset - HEADER), 100).split(b"\0")[0].decode(errors="replace")
            raise BadSampleError(BadSample(sample, self.store.place(number), name, offset, str(error))) from error

    def close(self) -> None:
        """Stop downloading; images can then no longer be read."""
        self.store.close()


def first_of_each(index: Index, count: int) -> Index:
    """Return the index of the first `count` images of each class, in the order of the index.

    UserError if a class has fewer, or there are no classes.
    """
    labels = np.asarray(index.samples["label"])
    rows = first_of_labels(labels, index.image.classes, count, f"{index.folder}")
    counts = np.bincount(np.searchsorted(index.starts, rows, side="right") - 1, minlength=len(index.shards))
    return replace(
        index,
        samples=index.samples[rows],
        members=index.members[rows] if index.pyramid else index.members,
        vectors=index.vectors[rows] if index.vectors.size else index.vectors,
        shards=tuple(replace(shard, samples=int(n)) for shard, n in zip(index.shards, counts, strict=True) if n),
        fingerprint=hashlib.sha256(json.dumps([index.fingerprint, "labelled", count]).encode()).hexdigest(),
    )


def own_folder(cache: Path, digest: str) -> Path:
    """Create a dataset's folder in the cache."""
    folder = cache / digest[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise disk_error(folder, error) from error
    return folder


def _fetch_index(place: Location, cache: Path, patience: Patience) -> Index:
    """Download an index into the cache, once per node; a different index gets its own folder."""
    try:
        text = fetch(place, "index.json", patience)
    except UserError as error:
        raise UserError(
            f"{error}; shards of another program's have no index: run `ganlab data index URL --out FOLDER --size N`, "
            "and write data.url=FOLDER"
        ) from error
    try:
        fields = json.loads(text)
        arrays = {"samples.npy": fields["samples_sha256"]}
        arrays |= {"pyramid.npy": fields["pyramid_sha256"]} if fields.get("pyramid") else {}
        arrays |= {VECTORS: fields["vectors_sha256"]} if fields.get("vectors") else {}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{place}index.json: not the index of a dataset ({error}); {REMEDY}") from error
    if fields.get("location"):  # a folder of this machine would be taken for the cache, and tars beside it removed
        raise UserError(f"{place}index.json: leads to another place; download the index, and name its folder")
    folder = own_folder(cache, hashlib.sha256(text).hexdigest())
    try:
        with locked(folder / "lock", patience):
            for name, sha256 in arrays.items():
                _fetch_array(place, folder / name, sha256, patience)
            with atomic_write(folder / "index.json") as file:
                file.write(text)
    except OSError as error:
        raise disk_error(folder, error) from error
    return Index.read(folder)


def _fetch_array(place: Location, path: Path, sha256: str, patience: Patience) -> None:
    if path.exists():
        return
    incoming = path.with_name(f"{path.name}.incoming")
    with incoming.open("ab+") as file:
        descriptor = file.fileno()

        def write(data: bytes, offset: int) -> None:
            try:
                write_at(descriptor, data, offset)
            except OSError as error:  # no fault of the source, of which it would be asked again
                raise disk_error(path, error) from error

        download(place, path.name, descriptor, write, None, sha256, patience)
    incoming.rename(path)
