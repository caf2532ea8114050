"""Repair: a new index for undamaged shards whose index is lost, damaged or another dataset's."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.data.format.decode import decode
from ganlab.data.format.shards import VECTORS, Index, Shard, read_json, write_index
from ganlab.data.format.tars import REMEDY, Contents, is_shard, walk
from ganlab.files import sha256_of
from ganlab.progress import Progress
from ganlab.types import ImageSpec, UserError

CHANNELS = {"1": 1, "L": 1, "LA": 1, "RGBA": 4}
"""Channels by PIL's mode; all other modes have 3."""


def repair(folder: Path) -> list[str]:
    """Rewrite the index of the shards in a folder if it does not match them; return a report.

    The shards are only read, and every image is decoded. UserError where they are not whole: a pack that has not been
    finished, a shard that the index has and the folder has not, one that has changed since, images of unlike sizes.
    """
    paths = sorted(path for path in folder.glob("*.tar") if is_shard(path.name))
    if not paths:
        raise UserError(f"{folder}: no folder of this machine that holds shards to make an index of")
    if (folder / "pack.json").exists():
        raise UserError(f"{folder}: a pack has begun here and not ended; finish it with the same `ganlab data pack`")
    contents = [walk(path) for path in paths]
    shards = [
        Shard(path.name, path.stat().st_size, len(found.keys), sha256_of(path))
        for path, found in zip(paths, contents, strict=True)
    ]
    old, cause = _old_index(folder, shards)
    image = _image_of(paths, contents)
    pyramid, samples = contents[0].pyramid, np.concatenate([found.samples for found in contents])
    if unlike := [path.name for path, found in zip(paths, contents, strict=True) if found.pyramid != pyramid]:
        raise UserError(f"{folder / unlike[0]}: copies of other sizes than in {paths[0].name}; {REMEDY}")
    members = np.concatenate([found.members for found in contents])
    cause = cause or _difference(folder, shards, samples, members)
    if not cause:
        return [f"{folder}: the index fits the shards; nothing was changed"]
    names = _names(samples["label"], old.get("class_names"))
    spec = ImageSpec(image.height, image.width, image.channels, len(names))
    more = {name: old[name] for name in ("account", "earlier") if name in old}
    write_index(folder, spec, names, shards, samples, old.get("pack", {}), pyramid, members, more)
    vectors = folder / VECTORS
    lost = [f"vectors: no longer used; if they are of these images: ganlab data vectors {folder} {vectors}"]
    return [
        f"{folder}: the index was rewritten ({cause}): {len(samples):,} images, {spec}; shards: {len(shards)}",
        "class names and the arguments of the pack: " + ("as in the old index" if old else "lost; classes by number"),
        *(lost if vectors.exists() else []),
    ]


def _old_index(folder: Path, shards: list[Shard]) -> tuple[Mapping[str, Any], str]:
    """Return what the old index says of these shards, and why it cannot be used; nothing if it may be usable.

    UserError where the shards are to blame.
    """
    if not (folder / "index.json").is_file():
        return {}, "there was none"
    try:
        old = json.loads((folder / "index.json").read_bytes())
        listed = {shard["name"]: shard["sha256"] for shard in old["shards"]}
    except (KeyError, TypeError, ValueError) as error:
        return {}, f"it was damaged: {error}"
    found = {shard.name: shard.sha256 for shard in shards}
    if not set(listed.values()) & set(found.values()):
        return {}, "it was of another dataset"
    if old.get("location") or old.get("resize"):
        raise UserError(f"{folder}: its index is of `ganlab data index`; run that again")
    try:
        read_json(folder)
    except UserError as error:
        if len(listed) <= len(found):  # a name or a sha256 in it may be damaged
            return old, f"it was damaged: {error}"
    if changed := [name for name, sha256 in listed.items() if found.get(name) != sha256]:
        raise UserError(f"{folder / changed[0]}: is missing, or has changed since it was packed; {REMEDY}")
    return old, ""


def _difference(folder: Path, shards: list[Shard], samples: NDArray[Any], members: NDArray[Any]) -> str:
    """Say how the index differs from the shards; nothing if it matches."""
    try:
        index = Index.read(folder)
    except UserError as error:
        return f"it was damaged: {error}"
    if list(index.shards) != shards:
        return "it had other shards"
    if not (np.array_equal(index.samples, samples) and np.array_equal(index.members, members)):
        return "it had other places or classes"
    return ""


def _image_of(paths: list[Path], contents: list[Contents]) -> ImageSpec:
    """Return the image spec of the first image; UserError if another differs or cannot be decoded."""
    image = None
    with Progress("decoding", sum(len(found.keys) for found in contents)) as progress:
        for path, found in zip(paths, contents, strict=True):
            with path.open("rb") as file:
                for offset, size in zip(found.samples["offset"].tolist(), found.samples["size"].tolist(), strict=True):
                    file.seek(offset)
                    data = file.read(size)
                    try:
                        if image is None:
                            with Image.open(io.BytesIO(data)) as picture:
                                channels = CHANNELS.get(picture.mode, 3)
                                image = ImageSpec(picture.height, picture.width, channels)
                        decode(data, image)
                    except (OSError, ValueError) as error:
                        raise UserError(f"{path}: image at byte {offset:,}: {error}; {REMEDY}") from error
                    progress.update(1)
    if image is None:
        raise UserError(f"{paths[0]}: holds no images; {REMEDY}")
    return image


def _names(labels: Any, old: Any) -> tuple[str, ...]:
    """Name the classes, as in the old index if there is one."""
    classes = int(labels.max()) + 1
    return tuple(old) if old and len(old) >= classes else tuple(map(str, range(classes)))
