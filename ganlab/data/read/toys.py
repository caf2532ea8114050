"""Synthetic datasets, `toy:NAME?key=value&...`: samples of a distribution, functions of URL and number, no files."""

import hashlib
import math
from dataclasses import fields
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from ganlab.data.format.faults import Faults
from ganlab.data.read.base import Dataset, first_of_labels
from ganlab.data.read.distributions import KINDS, Toy
from ganlab.data.read.order import Order, mix
from ganlab.keys import key
from ganlab.types import UserError

SCHEME = "toy:"
LOOKED_THROUGH, PIECE = 100_000, 1024
"""Samples in which the first ones of each class are sought, and how many are drawn at once."""
SIGNED = ("seed", "mean")
"""Keys that may be negative, or 0."""


class Drawn(NamedTuple):
    """A sample that has been drawn."""

    sample: int
    label: int
    pixels: NDArray[Any]


class ToyDataset(Dataset):
    """The samples of a toy.

    Args:
        url: `toy:ring?modes=8&std=0.02`: its name, and keys that differ from their defaults.
        crop: height and width of random crops.
        labelled: only the first so many samples of each class.

    Raises:
        UserError: there is no such toy or key, or a value is out of range.
    """

    def __init__(self, url: str, *, crop: int | None = None, labelled: int | None = None) -> None:
        self.toy, self.labelled = parse(url), labelled
        self.chosen: NDArray[np.int64] | None = None
        image = self.toy.image
        super().__init__(image, Faults(0), crop=crop)
        self.pixel = np.uint8 if image.height > 1 else np.float32
        if labelled is not None:
            self.chosen = first_of_labels(self._labels(labelled), image.classes, labelled, url)

    @property
    def fingerprint(self) -> str:
        """Of the distribution and its seed."""
        return hashlib.sha256(repr((self.toy, self.labelled)).encode()).hexdigest()

    @property
    def unlabelled(self) -> int:
        """All or none."""
        return 0 if self.whole.classes else len(self)

    def __len__(self) -> int:
        return self.toy.samples if self.chosen is None else len(self.chosen)

    def order(self, seed: int) -> Order:
        """Shuffle all samples together."""
        return Order([len(self)], seed)

    def places(self, samples: NDArray[np.int64], height: int) -> list[Drawn]:
        """Draw samples: many together cost little more than one."""
        pixels, labels = self._drawn(samples if self.chosen is None else self.chosen[samples])
        if (factor := self.whole.height // height) > 1:
            n, h, w, c = pixels.shape
            boxes = pixels.reshape(n, h // factor, factor, w // factor, factor, c)
            pixels = np.floor(boxes.mean((2, 4)) + 0.5).astype(self.pixel)
        return list(map(Drawn, samples.tolist(), labels.tolist(), pixels))

    def decode(self, place: Drawn, out: NDArray[Any]) -> None:
        """Copy a sample."""
        out[:] = place.pixels

    def _labels(self, count: int) -> NDArray[np.int64]:
        """Return the classes of the first samples, until `count` of each class are among them."""
        labels, last = np.empty(0, np.int64), min(self.toy.samples, LOOKED_THROUGH) if self.whole.classes else 0
        while len(labels) < last and np.bincount(labels, minlength=self.whole.classes).min() < count:
            _, more = self._drawn(np.arange(len(labels), min(len(labels) + PIECE, last)))
            labels = np.concatenate([labels, more])
        return labels

    def _drawn(self, samples: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        def uniform(name: str) -> NDArray[np.float64]:
            mixed = mix(mix(samples.astype(np.uint64)) ^ np.uint64(key(self.toy.seed, "toy", name)))
            return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53

        return self.toy.draw(uniform)


def parse(url: str) -> Toy:
    """Read a toy's URL; UserError says what it may hold."""
    name, _, query = url.removeprefix(SCHEME).partition("?")
    if (kind := KINDS.get(name)) is None:
        raise UserError(f"data.url: {url}: no such toy; write one of {', '.join(SCHEME + each for each in KINDS)}")
    types, values = {field.name: field.type for field in fields(kind)}, dict[str, Any]()
    for at, text in parse_qsl(query, keep_blank_values=True):
        if at not in types:
            raise UserError(f"data.url: {url}: {SCHEME}{name} has no {at}; it has {', '.join(types)}")
        try:
            values[at] = types[at](text)  # type: ignore[operator]
            if not ((0 if at not in SIGNED else -math.inf) < values[at] < math.inf):
                raise ValueError
        except ValueError:
            number = "a whole number" if types[at] is int else "a number"
            least = "" if at in SIGNED else ", more than 0"
            raise UserError(f"data.url: {url}: {at}={text}: write {number}{least}") from None
    toy = kind(**values)
    if toy.image.height > 1 and (toy.image.height < 5 or toy.image.channels not in (1, 3)):
        raise UserError(f"data.url: {url}: write a size of at least 5, and 1 or 3 channels")
    return toy
