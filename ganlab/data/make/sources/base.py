"""What every source of images is."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ganlab.types import UserError


@dataclass(frozen=True)
class Source(ABC):
    """Images in a fixed order, with or without labels; other processes may be given it."""

    path: Path
    labels: list[int] | None
    class_names: tuple[str, ...]
    """One for each class; empty without labels."""

    @property
    def name(self) -> str:
        """The file's or folder's own name."""
        return self.path.resolve().name

    @property
    def channels(self) -> int | None:
        """The channels of every image, or None where only the images tell."""
        return None

    def facts(self) -> list[Any]:
        """Give what tells each image and its label from later ones in their place, cheaply: nothing is decoded."""
        return [(self.stamp(i), None if self.labels is None else self.labels[i]) for i in range(len(self))]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def stamp(self, i: int) -> list[Any]:
        """Give what changes when image `i` does, as JSON: name, size and time of its file, or its checksum."""

    @abstractmethod
    def describe(self, i: int) -> str:
        """Say where image `i` lies, for a person."""

    @abstractmethod
    def image(self, i: int) -> Image.Image:
        """Decode image `i`, in whatever 8-bit mode it has; UserError names it where it cannot be decoded."""


def state_of(facts: list[Any]) -> str:
    """Hash what `Source.facts` gives of some images."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def stamp_of(path: Path) -> list[Any]:
    """Give the name of a file, its bytes and when it was changed, in ns."""
    found = path.stat()
    return [path.name, found.st_size, found.st_mtime_ns]


def checked_labels(path: Path, labels: list[Any], count: int) -> list[int]:
    """Return the labels where they are classes, one for each image; else UserError."""
    if len(labels) != count:
        raise UserError(f"{path}: {len(labels)} labels for {count} images; give one for each")
    if bad := [label for label in labels if type(label) is not int or not 0 <= label < 2**31]:
        raise UserError(f"{path}: label {bad[0]!r}; give classes as whole numbers from 0")
    return labels


def checked_names(path: Path, labels: list[int], names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return a name for every class, its number where there are no names; UserError where there are too few."""
    classes = max(labels, default=-1) + 1
    if names is None:
        return tuple(map(str, range(classes)))
    if len(names) < classes:
        raise UserError(f"{path}: {len(names)} class_names, but a label {classes - 1}; name every class")
    return tuple(names)
