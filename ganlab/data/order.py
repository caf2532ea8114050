"""Which sample comes when: a pure function of (seed, position), with no state and nothing of ranks or threads in it."""

import numpy as np
from numpy.typing import NDArray

from ganlab.seeding import key

ROUNDS = 6


class Order:
    """An endless stream over `samples` samples; every epoch is an exact permutation of all of them.

    Each epoch has its own keyed permutation, computed point by point: a Feistel network on the smallest even number of
    bits that holds `samples`, walked along its cycle until the result is one of them (Black & Rogaway 2002, "Ciphers
    with arbitrary finite domains"). Any position is reached at once, and the batch size may change along the way.
    """

    def __init__(self, samples: int, seed: int) -> None:
        self.samples, self.seed = samples, seed
        self.half = np.uint64(max(1, (int(samples - 1).bit_length() + 1) // 2))

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples at these positions of the stream."""
        epochs, places = np.divmod(positions, self.samples)
        out = np.empty_like(places)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            out[inside] = self._permute(places[inside].astype(np.uint64), int(epoch)).astype(np.int64)
        return out

    def _permute(self, places: NDArray[np.uint64], epoch: int) -> NDArray[np.uint64]:
        keys = [np.uint64(key(self.seed, "order", epoch, number)) for number in range(ROUNDS)]
        out = self._feistel(places, keys)
        while (outside := out >= self.samples).any():
            out[outside] = self._feistel(out[outside], keys)
        return out

    def _feistel(self, values: NDArray[np.uint64], keys: list[np.uint64]) -> NDArray[np.uint64]:
        mask = (np.uint64(1) << self.half) - np.uint64(1)
        left, right = values >> self.half, values & mask
        for round_key in keys:
            left, right = right, left ^ (_mix(right ^ round_key) & mask)
        return (left << self.half) | right


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits (the finaliser of splitmix64, Steele et al. 2014); products wrap by intent."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
