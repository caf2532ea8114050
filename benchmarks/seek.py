"""How long it takes to reach any position of a stream over 100 million samples in 10,000 shards: under 10 ms."""

import time

import numpy as np

from ganlab.data.read.order import Order

SAMPLES, SHARDS, BATCH, ROUNDS = 100_000_000, 10_000, 512, 20


def main() -> None:
    order = Order([SAMPLES // SHARDS] * SHARDS, seed=0)
    first, next_one = [], []
    for position in np.random.default_rng(0).integers(0, 100 * SAMPLES, ROUNDS).tolist():
        for times, at in ((first, position), (next_one, position + BATCH)):
            start = time.perf_counter()
            order(np.arange(at, at + BATCH))
            times.append((time.perf_counter() - start) * 1e3)
    print(f"first batch of {BATCH} at a random position: {np.median(first):.2f} ms (at worst {max(first):.2f})")
    print(f"the next one: {np.median(next_one):.2f} ms")
    assert np.median(first) < 10


if __name__ == "__main__":
    main()
