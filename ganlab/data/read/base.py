"""What a loader asks of a dataset: images by number, in an order, of shards or synthetic."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ganlab.data.format.faults import Faults
from ganlab.data.format.shards import NO_VECTORS
from ganlab.data.read.crop import Crop
from ganlab.data.read.order import Order
from ganlab.types import ImageSpec, UserError


@runtime_checkable  # the tests check types
class Located(Protocol):
    """Where an image is, or what it is drawn from."""

    @property
    def sample(self) -> int:
        """Its number."""

    @property
    def label(self) -> int:
        """Its class, -1 for none."""


class Dataset(ABC):
    """Images by number, from any thread.

    Args:
        whole: shape and classes of the images before they are cropped.
        faults: counts the bad samples.
        crop: height and width of the random crops that a game sees; None shows whole images.
        pairs: an image is two, one above the other, which are cropped alike.
    """

    pixel: type[np.generic] = np.uint8
    """Type of the pixels: bytes, or float32 in [-1, 1]."""
    vectors: NDArray[np.float32] = NO_VECTORS
    """A vector for each image [n, d]; d is 0 if there are none."""

    def __init__(self, whole: ImageSpec, faults: Faults, *, crop: int | None = None, pairs: bool = False) -> None:
        self.whole, self.faults = whole, faults
        self.crop = None if crop is None else Crop(crop, whole, pairs)

    @property
    def image(self) -> ImageSpec:
        """Shape and classes of the images as a game sees them."""
        return self.crop.image if self.crop else self.whole

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes with any image."""

    @property
    @abstractmethod
    def unlabelled(self) -> int:
        """Number of images without a class."""

    def empty_classes(self) -> list[str]:
        """Name the classes without an image."""
        return []

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def order(self, seed: int) -> Order:
        """Return the order in which a loader shows the images."""

    @abstractmethod
    def places(self, samples: NDArray[np.int64], height: int) -> list[Any]:
        """Return where images lie that are to be decoded `height` pixels high: `Located`, for `decode`."""

    @abstractmethod
    def decode(self, place: Any, out: NDArray[Any]) -> None:
        """Decode the image at `place` into `out` [height, width, channels]; BadSampleError if it cannot be."""

    def expect(self, shards: Iterator[int]) -> None:  # noqa: B027 (only remote shards need it)
        """Make the shards that are needed next available."""

    def close(self) -> None:  # noqa: B027
        """Stop reading ahead; images can then no longer be read."""

    def read(self, i: int, out: NDArray[Any]) -> int:
        """Read image `i` into `out` [height, width, channels], which may be smaller; return its label.

        Of images that are cropped, `out` gets the crop that a loader of seed 0 would cut at position `i`. Errors are
        those of `decode`.
        """
        height = out.shape[0]
        if self.crop is None:
            (place,) = self.places(np.array([i]), height)
            self.decode(place, out)
        else:
            pixels = np.empty((*self.crop.decoded(height), out.shape[2]), out.dtype)
            (place,) = self.places(np.array([i]), len(pixels))
            self.decode(place, pixels)
            (top,), (left,) = self.crop.corners(np.array([i]), 0, height)
            self.crop.cut(pixels, top, left, out)
        label: int = place.label
        return label


def first_of_labels(labels: NDArray[Any], classes: int, count: int, place: str) -> NDArray[np.int64]:
    """Return the numbers of the first `count` images of each class, ascending; UserError if a class has fewer."""
    rows = [np.flatnonzero(labels == number)[:count] for number in range(classes)]
    if not rows or count < 1:
        why = "write at least 1" if rows else f"but the images of {place} have no classes; leave it out"
        raise UserError(f"data.other.labelled: {count}: {why}")
    if short := [number for number, chosen in enumerate(rows) if len(chosen) < count]:
        raise UserError(
            f"data.other.labelled: {count}, but class {short[0]} of {place} has only {len(rows[short[0]])} images; "
            f"write at most {min(map(len, rows))}"
        )
    return np.sort(np.concatenate(rows))
