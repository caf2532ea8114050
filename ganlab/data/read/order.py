"""The order of samples: a pure function of (seed, position), without state, ranks or threads."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlab.keys import key

ROUNDS = 6
WINDOW = 16
"""Shards that are shuffled together."""


class Order:
    """An endless stream over the samples of many shards; every epoch is an exact permutation of all of them.

    Each epoch permutes the shards, takes them in windows of about `window` shards, and permutes all samples of a
    window: reading touches few shards at a time, and a dataset of at most one window is fully shuffled. Both
    permutations are keyed and computed point by point, so any position is reached at once, and the batch size may
    change during a run."""

    def __init__(self, counts: Sequence[int], seed: int, window: int = WINDOW) -> None:
        self.counts, self.seed = np.array(counts, np.int64), seed
        self.starts = np.cumsum(self.counts) - self.counts
        self.samples = int(self.counts.sum())
        windows = -(-len(counts) // window)
        self.cuts = np.arange(windows + 1) * len(counts) // windows
        """The first shard of each window in an epoch's order, and the end."""
        self._shards = lru_cache(4)(self._shards_of)

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples at these positions of the stream."""
        out = np.empty_like(positions)
        epochs, places = np.divmod(positions, self.samples)
        for epoch in np.unique(epochs).tolist():
            shards, ends = self._shards(epoch)
            window_ends = ends[self.cuts[1:] - 1]
            windows = np.searchsorted(window_ends, places, side="right")
            for window in np.unique(windows[epochs == epoch]).tolist():
                chosen = (epochs == epoch) & (windows == window)
                first = int(window_ends[window - 1]) if window else 0
                keys = [np.uint64(key(self.seed, "order", epoch, window, number)) for number in range(ROUNDS)]
                inside = first + permute(places[chosen] - first, int(window_ends[window]) - first, keys)
                at = np.searchsorted(ends, inside, side="right")
                out[chosen] = self.starts[shards[at]] + inside - (ends[at] - self.counts[shards[at]])
        return out

    def window_end(self, position: int) -> int:
        """Return the position after the last one of this position's window."""
        epoch, window = self._window(position)
        _, ends = self._shards(epoch)
        return epoch * self.samples + int(ends[self.cuts[window + 1] - 1])

    def upcoming(self, position: int) -> Iterator[int]:
        """Yield the shards in the order in which windows need them, endlessly, starting with this position's window."""
        epoch, window = self._window(position)
        while True:
            yield from self._shards(epoch)[0][self.cuts[window] :].tolist()
            epoch, window = epoch + 1, 0

    def _window(self, position: int) -> tuple[int, int]:
        """Return a position's epoch, and its window there."""
        epoch, place = divmod(position, self.samples)
        _, ends = self._shards(epoch)
        return epoch, int(np.searchsorted(ends[self.cuts[1:] - 1], place, side="right"))

    def _shards_of(self, epoch: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return an epoch's order of shards, and the place after the last sample of each."""
        keys = [np.uint64(key(self.seed, "shards", epoch, number)) for number in range(ROUNDS)]
        shards = permute(np.arange(len(self.counts)), len(self.counts), keys)
        return shards, np.cumsum(self.counts[shards])


def permute(places: NDArray[np.int64], n: int, keys: list[np.uint64]) -> NDArray[np.int64]:
    """Map places in [0, n) by a permutation that the keys choose.

    A Feistel network on the smallest even number of bits that holds `n` values, walked along its cycle until the
    result is one of them (Black & Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    out = _feistel(places.astype(np.uint64), half, keys)
    while (outside := out >= n).any():
        out[outside] = _feistel(out[outside], half, keys)
    return out.astype(np.int64)


def _feistel(values: NDArray[np.uint64], half: np.uint64, keys: list[np.uint64]) -> NDArray[np.uint64]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for round_key in keys:
        left, right = right, left ^ (mix(right ^ round_key) & mask)
    return (left << half) | right


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits (the finaliser of splitmix64, Steele et al. 2014); products wrap by intent."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
