"""The interface of sources."""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.data.make.account import Account
from ganlab.data.make.sources.classes import Classes

MEND = "; mend or remove it"
"""The end of a message of one broken image."""


@dataclass(frozen=True)
class Facts:
    """What identifies the current images and labels of a source."""

    state: str
    """A hash of all."""
    each: NDArray[np.uint64]
    """A hash of each image and its class's name [n]."""

    def of(self, chosen: NDArray[np.int64]) -> str:
        """Return a hash of some images, in this order."""
        return hashlib.sha256(self.each[chosen].tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Source(ABC):
    """Images in a fixed order, with or without labels; it can be pickled for other processes."""

    path: Path
    classes: Classes
    account: Account

    @property
    def labels(self) -> NDArray[np.int32] | None:
        """The class of each image [n]."""
        return self.classes.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class; empty without labels."""
        return self.classes.names

    @property
    def name(self) -> str:
        """The file's or folder's own name."""
        return self.path.resolve().name

    @property
    def channels(self) -> int | None:
        """The channels of every image, or None if only their files show them."""
        return None

    def facts(self) -> Facts:
        """Return what identifies the current images and labels, without decoding."""
        whole, each = hashlib.sha256(b"["), np.empty(len(self), np.uint64)
        for i in range(len(self)):
            stamp, label = self.stamp(i), None if self.labels is None else int(self.labels[i])
            text = json.dumps([stamp, label]).encode()
            whole.update(b", " + text if i else text)
            named = json.dumps([stamp, label if label is None else self.class_names[label]]).encode()
            each[i] = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "little")
        whole.update(b"]")
        return Facts(whole.hexdigest()[:16], each)

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
        """Decode image `i` upright, in its own 8-bit mode; UserError names it if it cannot be decoded."""

    def mode(self, i: int) -> str:
        """Return Pillow's mode of image `i`, from its header where it is a file."""
        return self.image(i).mode


def stamp_of(path: Path) -> list[Any]:
    """Return the name of a file, its size and its modification time in ns."""
    found = path.stat()
    return [path.name, found.st_size, found.st_mtime_ns]
