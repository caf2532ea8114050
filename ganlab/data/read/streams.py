"""Two streams of one run, side by side."""

from collections.abc import Iterator
from contextlib import closing

from torch import Tensor

from ganlab.data.read.loader import BatchLoader
from ganlab.types import IN_ORDER

OTHER = ("other", "other_labels")
"""Names of what the second loader yields. Its vectors are not passed on."""


class Streams:
    """An endless stream of mappings from the batches of two loaders.

    They hold real, labels, other and other_labels, and vectors where the first dataset has some. The loaders follow the
    same clock, and their batches are as large as each other's; each has its own order, so an epoch of one is not an
    epoch of the other.
    """

    def __init__(self, first: BatchLoader, other: BatchLoader) -> None:
        self.first, self.other = first, other

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Decode ahead and yield, endlessly."""
        with closing(iter(self.first)) as first, closing(iter(self.other)) as other:  # type: ignore[type-var]
            for ours, theirs in zip(first, other, strict=True):
                yield {**dict(zip(IN_ORDER, ours, strict=False)), **dict(zip(OTHER, theirs, strict=False))}
