import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from ganlab.data.read.order import Order


@given(st.integers(1, 5000), st.integers(0, 2**31), st.integers(0, 2**33))
@example(1, 0, 0)
@example(2, 0, 0)
@example(3, 0, 0)
@example(4096, 0, 0)
@example(4097, 0, 0)
@settings(max_examples=60, deadline=None)
def test_every_epoch_shows_every_sample_once(samples, seed, epoch):
    order = Order([samples], seed)
    shown = order(np.arange(samples) + epoch * samples)
    assert shown.dtype == np.int64 and (np.sort(shown) == np.arange(samples)).all()


@pytest.mark.slow
@given(st.integers(1, 400), st.lists(st.integers(1, 300), min_size=1, max_size=8), st.integers(0, 10**12))
@settings(max_examples=30, deadline=None)
def test_a_position_has_its_sample_however_positions_are_batched(samples, sizes, start):
    order, positions = Order([samples], 3), np.arange(start, start + sum(sizes))
    together = order(positions)
    apart = np.concatenate([order(part) for part in np.split(positions, np.cumsum(sizes)[:-1])])
    assert (together == apart).all()
    shuffled = np.random.default_rng(0).permutation(len(positions))
    assert (order(positions[shuffled]) == together[shuffled]).all()


def test_epochs_and_seeds_differ():
    orders = [Order([1000], seed)(np.arange(4000)).reshape(4, 1000) for seed in range(4)]
    epochs = np.concatenate(orders)
    assert (Order([1000], 2)(np.arange(4000)) == orders[2].ravel()).all()
    for i, a in enumerate(epochs):
        for b in epochs[:i]:
            assert (a == b).sum() < 8  # 1 is expected of two unrelated permutations


def test_a_far_position_costs_nothing():
    order = Order([10**4] * 10**4, 0)
    positions = 10**12 + np.arange(512)
    tracemalloc.start()
    shown = order(positions)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(np.unique(shown)) == 512 and shown.min() >= 0 and shown.max() < 10**8
    assert peak < 2 * 10**6  # some numbers for each of the shards, none for the samples


@pytest.mark.slow
@pytest.mark.parametrize("samples", [2, 3, 4, 7, 10, 60, 64])
def test_a_sample_lands_on_every_place_equally_often(samples):
    """And, of few samples, every permutation comes equally often."""
    epochs, at_once = 3000, 50 * samples
    order = Order([samples], 1)
    pieces = [order(np.arange(first, first + at_once)) for first in range(0, samples * epochs, at_once)]
    shown = np.concatenate(pieces).reshape(epochs, samples)
    for place in (0, samples - 1):
        assert stats.chisquare(np.bincount(shown[:, place], minlength=samples)).pvalue > 1e-4
    assert stats.chisquare(np.bincount((shown == 0).argmax(1), minlength=samples)).pvalue > 1e-4
    if samples <= 4:
        counts = np.unique(shown, axis=0, return_counts=True)[1]
        assert len(counts) == [1, 1, 2, 6, 24][samples] and stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("samples", [1797, 60_000])
def test_consecutive_samples_are_unrelated(samples):
    shown = Order([samples], 0)(np.arange(samples)).astype(float)
    for lag in (1, 2, 64):
        assert abs(np.corrcoef(shown[:-lag], shown[lag:])[0, 1]) < 4.5 / samples**0.5
    # Neighbours in the dataset are no nearer in the stream than chance has it: two uniform draws are 1/3 apart.
    apart = np.abs(np.diff(np.argsort(shown))) / samples
    assert abs(apart.mean() - 1 / 3) < 4.5 * (1 / 18 / samples) ** 0.5


counts = st.lists(st.integers(0, 60), min_size=1, max_size=40).filter(any)


@given(counts, st.integers(1, 12), st.integers(0, 2**31), st.integers(0, 2**20))
@settings(max_examples=100)
def test_every_epoch_shows_every_sample_of_shards_of_any_size_once(counts, window, seed, epoch):
    order, samples = Order(counts, seed, window), sum(counts)
    shown = order(np.arange(samples) + epoch * samples)
    assert (np.sort(shown) == np.arange(samples)).all()


@pytest.mark.slow
@given(counts, st.integers(1, 12), st.integers(0, 2**31), st.data())
@settings(max_examples=60)
def test_a_window_is_a_few_shards_shown_to_their_end(counts, window, seed, data):
    """What is said to come is what comes: whole windows of shards, each no more than its share."""
    order, samples = Order(counts, seed, window), sum(counts)
    start = data.draw(st.integers(0, 3 * samples))
    positions = start + np.arange(2 * samples)
    shard_of = np.repeat(np.arange(len(counts)), counts)
    ends = np.array([order.window_end(position) for position in positions.tolist()])
    assert (ends > positions).all() and (np.diff(ends) >= 0).all()
    coming = order.upcoming(start)
    for end in np.unique(ends):
        inside = shard_of[order(positions[ends == end])]
        shards = np.unique(inside)
        assert len(shards) <= window
        while shards.size:  # shards of no samples may come in between
            shards = np.setdiff1d(shards, [next(coming)])
    if len(counts) <= window:
        assert (ends % samples == 0).all()


def difference_entropy(shown):
    """Bits of the distances between neighbours in the stream, the measure of MosaicML's streaming library."""
    share = np.bincount(np.abs(np.diff(shown))) / (len(shown) - 1)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def test_shuffling_a_window_is_nearly_as_good_as_shuffling_all():
    """1,000 shards of 1,000: at least 97 % of a full permutation's entropy (98.3 %), from 17 shards a batch."""
    shown = Order([1000] * 1000, 0)(np.arange(10**6))
    full = difference_entropy(np.random.default_rng(0).permutation(10**6))
    assert 0.97 < difference_entropy(shown) / full < 0.99
    batches = [len(np.unique(batch // 1000)) for batch in np.split(shown[: 976 * 1024], 976)]
    assert np.mean(batches) < 18
