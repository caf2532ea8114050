"""The interface of sources."""

import hashlib
import json
import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.data.make.account import Account
from ganlab.data.make.sources.classes import Classes

BLOCK = 2**14
"""Images that are looked at together."""
GREY = ("1", "L", "LA", "I;16", "I;16L", "I;16B", "I")
"""Pillow's modes of grey pictures."""
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

    def facts(self, workers: int = 1) -> Facts:
        """Return what identifies the current images and labels, without decoding; many are looked at in processes."""
        whole, each = hashlib.sha256(b"["), list[NDArray[np.uint64]]()
        blocks = range(0, len(self), BLOCK)
        with ExitStack() as stack:
            stamped: Iterator[tuple[bytes, NDArray[np.uint64]]] = map(self.stamps_from, blocks)
            if workers > 1 and len(blocks) > 1:
                context = multiprocessing.get_context("forkserver")  # this process may have threads
                pool = stack.enter_context(context.Pool(workers, _adopt, (self,)))
                stamped = pool.imap(_adopted, blocks)
            for text, hashes in stamped:
                whole.update(b", " + text if each else text)
                each.append(hashes)
        whole.update(b"]")
        return Facts(whole.hexdigest()[:16], np.concatenate(each))

    def stamps_from(self, first: int) -> tuple[bytes, NDArray[np.uint64]]:
        """Return what identifies a block of images, as text and as a hash of each."""
        numbers = range(first, min(first + BLOCK, len(self)))
        labels = [None] * len(numbers) if self.labels is None else self.labels[first : numbers.stop].tolist()
        texts, digests = list[str](), list[bytes]()
        for i, label in zip(numbers, labels, strict=True):
            stamp, name = json.dumps(self.stamp(i)), label if label is None else self.class_names[label]
            texts.append(f"[{stamp}, {'null' if label is None else label}]")  # as JSON
            digests.append(hashlib.blake2b(f"{stamp}{name}".encode("utf-8", "replace"), digest_size=8).digest())
        return ", ".join(texts).encode(), np.frombuffer(b"".join(digests), "<u8")

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

    def has_more(self, i: int) -> bool:
        """Whether image `i` is the first of several in its file."""
        return False


def stamp_of(path: Path) -> list[Any]:
    """Return the name of a file, its size and its modification time in ns."""
    found = path.stat()
    return [path.name, found.st_size, found.st_mtime_ns]


_source: Source
"""The source that a process has been given."""


def _adopt(source: Source) -> None:
    global _source
    _source = source


def _adopted(first: int) -> tuple[bytes, NDArray[np.uint64]]:
    return _source.stamps_from(first)
