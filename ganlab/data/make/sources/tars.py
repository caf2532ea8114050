"""Images in the tars of a WebDataset."""

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlab.data.make.account import Account, printable
from ganlab.data.make.sources.base import stamp_of
from ganlab.data.make.sources.classes import NONE, Classes, by_folder, numbered
from ganlab.data.make.sources.files import Files
from ganlab.data.make.sources.members import images_of
from ganlab.data.make.sources.names import Names
from ganlab.types import UserError


@dataclass(frozen=True)
class Tars(Files):
    """Files in the tars of a WebDataset."""

    tars: list[Path]
    places: NDArray[np.int64]
    """Tar, offset and bytes of each file [n, 3]."""

    def describe(self, i: int) -> str:
        """Give the tar and the member."""
        return f"{self.tars[self.places[i][0]]}/{printable(self.names[i])}"

    def open(self, i: int) -> Any:
        """Open file `i`, read already."""
        tar, offset, size = self.places[i].tolist()
        with self.tars[tar].open("rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size))

    @cached_property
    def stamps(self) -> list[Any]:
        """Of the tars."""
        return list(map(stamp_of, self.tars))

    def stamp(self, i: int) -> list[Any]:
        """Stamp the tar, and the place in it."""
        return [*self.places[i].tolist(), *self.stamps[self.places[i][0]]]


def open_tars(path: Path, tars: list[Path], labels: str | None) -> Tars:
    """List the images in tars; those without a class have label -1."""
    account, names, places, values = Account(), Names(), list[NDArray[np.int64]](), list[int | str | None]()
    for number, tar in enumerate(tars):
        with tar.open("rb") as file:
            found = images_of(file, tar, None if labels == NONE else labels, lambda *_: 0)
        names.extend(found.names)
        places.append(np.insert(found.places[:, :2], 0, number, axis=1))
        values += found.values
        account.add(found.account)
    classes = classes_in(str(path), values, names, labels, account, _names_in(path))
    return Tars(path, classes, account, names, tars, np.concatenate(places))


def classes_in(
    place: str,
    values: Sequence[int | str | None],
    names: Sequence[str],
    labels: str | None,
    account: Account,
    class_names: Sequence[str] | None = None,
) -> Classes:
    """Number what the tars say of the classes; where they say nothing, sub-folders in them are classes."""
    if labels == NONE:
        account.labels = "none, as was asked for"
        return Classes()
    if all(value is None for value in values):
        if labels:
            raise UserError(f"{place}: no image has a .json with {labels}, its class; name another field, or none")
        classes = by_folder(place, names, account, wrapped=True)
        if classes.labels is None:
            account.labels = "none: no .cls beside the images, no sub-folder for each class"
        return classes
    account.labels = f"the field {labels} of each .json" if labels else "the .cls beside each image"
    account.note("without a class", [name for name, value in zip(names, values, strict=True) if value is None])
    return numbered(place, values, account, class_names)


def _names_in(folder: Path) -> list[str] | None:
    """Return the names of the classes that the index of packed shards holds."""
    folder = folder if folder.is_dir() else folder.parent
    with suppress(OSError, ValueError, KeyError, TypeError):
        return list(map(str, json.loads((folder / "index.json").read_bytes())["class_names"])) or None
    return None
