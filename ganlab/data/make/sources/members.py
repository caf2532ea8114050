"""The images of one tar of a WebDataset, for packing them and for indexing them in place."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlab.data.format.pictures import HEAD
from ganlab.data.format.tars import LEVEL, members_in
from ganlab.data.make.account import Account
from ganlab.data.make.sources.classes import is_class
from ganlab.data.make.sources.kinds import HIDDEN, is_hidden, why_not
from ganlab.data.make.sources.names import Names
from ganlab.types import UserError

Read = Callable[[], bytes]


@dataclass(frozen=True)
class Images:
    """The images of one tar, in its order."""

    names: Names
    places: NDArray[np.int64]
    """Offset, bytes and crc32 of each [n, 3]."""
    values: list[int | str | None]
    """The class of each as it is written; None: there is none."""
    account: Account


def images_of(
    file: io.BufferedReader, tar: object, field: str | None, crc32: Callable[[str, Read], int], *, cheap: bool = True
) -> Images:
    """List the images of an open tar: one for each key (its name up to the first dot), `KEY.png`.

    What else a sample has, `KEY.seg.png`, is left out, but where a key has no image under its plain name, its name was
    not meant so: every `photo.1.jpg` is then an image of its own. A class is in `KEY.cls`, or in the `field` of
    `KEY.json`. `crc32` gets the name of each image and reads it. `cheap`: files of unknown kinds may be looked into.

    Raises UserError, with tar and member, for a damaged tar, two images or classes of a key, and no class in a label.
    """
    account, label = Account(), ".cls" if field is None else ".json"
    plain: dict[str, tuple[str, str, tuple[int, int, int]]] = {}
    dotted: list[tuple[str, str, tuple[int, int, int]]] = []
    classes: dict[str, int | str | None] = {}
    for key, suffix, member, read in members_in(file, tar):
        name = member.name
        extension = f".{suffix.rpartition('.')[2]}" if suffix else ""
        stem = name.removesuffix(extension)
        if is_hidden(name):
            account.leave(HIDDEN, name)
        elif extension == label:
            if stem in classes:
                raise UserError(f"{tar}: member {name}: a second class for key {stem}")
            classes[stem] = _class(tar, member, read()) if field is None else _field(tar, member, read(), field)
        elif LEVEL.fullmatch(suffix):
            account.leave("a smaller copy of an image", name)
        elif why := why_not(name, partial(_head, file, member) if cheap else None):
            account.leave(why, name)
        elif suffix == extension[1:] and key in plain:
            raise UserError(f"{tar}: member {name}: a second image for key {key}; leave one of them")
        else:
            image = (key, name, (member.offset_data, member.size, crc32(name, read)))
            if suffix == extension[1:]:
                plain[key] = image
            else:
                dotted.append(image)
    own = [image for image in dotted if image[0] not in plain]
    for key, name, _ in dotted:
        if key in plain:
            account.leave("a further image of a sample", name)
    account.note("images of their own, with dots in their names", [name for _, name, _ in own])
    images = sorted([*plain.values(), *own], key=lambda image: image[2][0])
    used = {name.rpartition(".")[0] for _, name, _ in images} | {key for key, *_ in images}
    for stem in classes:
        if stem not in used:
            account.leave("a class without an image", stem + label)
    values = [classes.get(name.rpartition(".")[0], classes.get(key)) for key, name, _ in images]
    places = np.array([place for _, _, place in images], np.int64).reshape(-1, 3)
    return Images(Names(name for _, name, _ in images), places, values, account)


def _head(file: io.BufferedReader, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    return file.read(min(HEAD, member.size))


def _class(tar: object, member: tarfile.TarInfo, data: bytes) -> int | str:
    """Read a .cls, a number or a name, with space around it or not."""
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not is_class(text):
        raise UserError(f"{tar}: member {member.name}: {data[:20]!r} where one class is expected, a number or a name")
    return int(text) if text.isascii() and text.isdecimal() else text


def _field(tar: object, member: tarfile.TarInfo, data: bytes, name: str) -> int | str | None:
    try:
        value: Any = json.loads(data).get(name)
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{tar}: member {member.name}: not a JSON object ({error})") from error
    if value is None or is_class(value):
        return value
    raise UserError(f"{tar}: member {member.name}: {name} is {value!r}, no class: neither a number from 0 nor a name")
