"""The interface of sources."""

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
    """Images in a fixed order, with or without labels; it can be pickled for other processes."""

    path: Path
    labels: list[int] | None
    class_names: tuple[str, ...]
    """One name per class; empty without labels."""

    @property
    def name(self) -> str:
        """The file's or folder's own name."""
        return self.path.resolve().name

    @property
    def channels(self) -> int | None:
        """The channels of every image, or None if only decoding shows them."""
        return None

    def facts(self) -> list[Any]:
        """Return what identifies the current images and labels, without decoding."""
        return [(self.stamp(i), None if self.labels is None else self.labels[i]) for i in range(len(self))]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def stamp(self, i: int) -> list[Any]:
        """Return what changes when image `i` does, as JSON: name, size and time of its file, or its checksum."""

    @abstractmethod
    def describe(self, i: int) -> str:
        """Return where image `i` lies, for messages."""

    @abstractmethod
    def image(self, i: int) -> Image.Image:
        """Decode image `i` in its own 8-bit mode; UserError names it if it cannot be decoded."""


def state_of(facts: list[Any]) -> str:
    """Hash the `Source.facts` of some images."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def stamp_of(path: Path) -> list[Any]:
    """Return the name of a file, its size and its modification time in ns."""
    found = path.stat()
    return [path.name, found.st_size, found.st_mtime_ns]


def checked_labels(path: Path, labels: list[Any], count: int) -> list[int]:
    """Return the labels if they are classes, one per image; else UserError."""
    if len(labels) != count:
        raise UserError(f"{path}: {len(labels)} labels for {count} images; give one for each")
    if bad := [label for label in labels if type(label) is not int or not 0 <= label < 2**31]:
        raise UserError(f"{path}: label {bad[0]!r}; give classes as whole numbers from 0")
    return labels


def checked_names(path: Path, labels: list[int], names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return a name for every class, its number if there are no names; UserError if there are too few."""
    classes = max(labels, default=-1) + 1
    if names is None:
        return tuple(map(str, range(classes)))
    if len(names) < classes:
        raise UserError(f"{path}: {len(names)} class_names, but a label {classes - 1}; name every class")
    return tuple(names)
