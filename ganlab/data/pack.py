"""Packing: images of any source into shuffled shards of one size; killed at any point, it goes on where it was."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from webdataset import TarWriter

from ganlab.data.decode import MODES, fit
from ganlab.data.shards import Index, Shard, sha256_of, walk, write_index
from ganlab.data.sources import Source, open_source
from ganlab.files import atomic_write
from ganlab.progress import Progress
from ganlab.types import ImageSpec, UserError

ImageFormat = Literal["png", "jpeg", "webp"]
SUFFIX: dict[ImageFormat, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}
LOOKED_AT = 64
"""Images, spread over the source, whose modes decide between grey and colour."""


def pack(
    source: str | Path,
    dest: Path,
    *,
    size: int,
    image_format: ImageFormat = "png",
    quality: int = 95,
    channels: int | None = None,
    shard_samples: int = 4096,
    seed: int = 0,
) -> Index:
    """Write `source` to the folder `dest`: images of size x size, in an order drawn by `seed`, `shard_samples` a shard.

    PNG and WebP are lossless; JPEG has `quality` (1-100) and full colour resolution. `channels` is 1, 3 or 4; None
    takes an array's own, and for files 1 where 64 of them, spread over the source, are all grey, else 3 (alpha is
    dropped). With the same arguments a killed pack goes on after its last whole shard, and a finished one is
    returned as it is. UserError for a source that cannot be read to its end, a `dest` that holds anything else or
    cannot be written, and arguments that do not fit.
    """
    if min(size, shard_samples) < 1 or seed < 0 or not 1 <= quality <= 100 or channels not in (None, *MODES):
        raise UserError(
            f"size {size}, shard_samples {shard_samples}, seed {seed}, quality {quality}, channels {channels}: "
            "give a size and shard_samples from 1, a seed from 0, a quality of 1-100 and channels 1, 3 or 4"
        )
    images = open_source(source)
    channels = channels or images.channels or _look(images)
    if image_format == "jpeg" and channels == 4:
        raise UserError(f"{source}: JPEG has no fourth channel; pack as png or webp, or with 3 channels")
    arguments = {
        "source": images.name,
        "samples": len(images),
        "size": size,
        "image_format": image_format,
        "quality": quality,
        "channels": channels,
        "shard_samples": shard_samples,
        "seed": seed,
    }
    try:
        if (dest / "index.json").exists():
            index = Index.open(dest)
            _same(dest, index.pack, arguments)
        else:
            _begin(dest, arguments)
            index = _pack(images, dest, ImageSpec(size, size, channels, len(images.class_names)), arguments)
        (dest / "pack.json").unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{dest}: cannot be written ({error.strerror}); make room there or choose another folder, "
            "then run the same command: whole shards are kept"
        ) from error
    return index


def _look(source: Source) -> int:
    """Decide between grey and colour."""
    modes = {source.image(i).mode for i in range(0, len(source), -(-len(source) // LOOKED_AT))}
    return 1 if modes <= {"1", "L", "LA"} else 3


def _begin(dest: Path, arguments: Mapping[str, Any]) -> None:
    """Claim `dest`: `pack.json` says that its files are ours, and of which pack."""
    dest.mkdir(parents=True, exist_ok=True)
    claim = dest / "pack.json"
    if claim.exists():
        _same(dest, json.loads(claim.read_bytes()), arguments)
    elif foreign := sorted(file.name for file in dest.iterdir() if file.name != "pack.json.tmp"):
        raise UserError(f"{dest}: holds other files ({', '.join(foreign[:3])}); choose a new or empty folder")
    else:
        with atomic_write(claim) as file:
            file.write(json.dumps(arguments, indent=1).encode())


def _same(dest: Path, found: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    if differing := [
        f"{name} {found.get(name)!r} there, {value!r} here"
        for name, value in arguments.items()
        if found.get(name) != value
    ]:
        raise UserError(
            f"{dest}: was begun with other arguments: {'; '.join(differing)}; choose another folder or delete this one"
        )


def _pack(source: Source, dest: Path, image: ImageSpec, arguments: Mapping[str, Any]) -> Index:
    order = np.random.Generator(np.random.PCG64(arguments["seed"])).permutation(len(source))
    shards: list[Shard] = []
    samples: list[NDArray[Any]] = []
    with Progress("packing", len(source)) as progress:
        for first in range(0, len(source), arguments["shard_samples"]):
            chosen = order[first : first + arguments["shard_samples"]]
            path = dest / f"shard-{len(shards):06d}.tar"
            if path.exists():
                progress.update(len(chosen))
            else:
                _write_shard(path, first, chosen, source, image, arguments, progress)
            samples.append(_read_back(path, first, chosen, source))
            shards.append(Shard(path.name, path.stat().st_size, len(chosen), sha256_of(path)))
    write_index(dest, image, source.class_names, shards, np.concatenate(samples), arguments)
    return Index.open(dest)


def _write_shard(
    path: Path,
    first: int,
    chosen: NDArray[np.int64],
    source: Source,
    image: ImageSpec,
    arguments: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Write images `chosen` of the source as samples `first`, `first` + 1, ... of the dataset."""
    image_format = arguments["image_format"]
    # Nothing of the moment or the machine goes in: the same pack gives the same bytes.
    with atomic_write(path) as file, TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False) as tar:
        for key, i in enumerate(chosen.tolist(), first):
            picture = fit(source.image(i), image.height, image.channels)
            sample = {
                "__key__": f"{key:09d}",
                SUFFIX[image_format]: encode(picture, image_format, arguments["quality"]),
            }
            if source.labels is not None:
                sample["cls"] = str(source.labels[i]).encode()
            tar.write(sample)
            progress.update(1)


def _read_back(path: Path, first: int, chosen: NDArray[np.int64], source: Source) -> NDArray[Any]:
    """Index a shard, and see that it holds the samples that it should: an earlier pack may have written it."""
    contents = walk(path)
    labels = [-1] * len(chosen) if source.labels is None else [source.labels[i] for i in chosen.tolist()]
    expected = [f"{key:09d}" for key in range(first, first + len(chosen))]
    if contents.keys != expected or contents.samples["label"].tolist() != labels:
        raise UserError(f"{path}: does not hold samples {expected[0]} to {expected[-1]} of this source; delete it")
    return contents.samples


def encode(picture: Image.Image, image_format: ImageFormat, quality: int) -> bytes:
    """Write a picture as the bytes of a file: JPEG at `quality` in 4:4:4, PNG and WebP without loss."""
    options: dict[ImageFormat, dict[str, Any]] = {
        "png": {},
        "jpeg": {"quality": quality, "subsampling": 0},
        "webp": {"lossless": True, "exact": True},
    }
    picture.info.clear()  # profiles and dates of the source
    file = io.BytesIO()
    picture.save(file, image_format, **options[image_format])
    return file.getvalue()
