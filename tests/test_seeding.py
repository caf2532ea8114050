import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ganlab.seeding import Noise, key, seed_everything

DRAWS = {
    "normal": lambda noise, n, name="x": noise.normal(name, n, 3),
    "uniform": lambda noise, n, name="x": noise.uniform(name, n, 1, 2),
    "classes": lambda noise, n, name="x": noise.classes(name, n, 1000),
}


@pytest.mark.parametrize("kind", DRAWS)
@given(st.integers(1, 5), st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_noise_of_a_batch_is_the_same_however_it_is_cut(kind, group, ranks, pieces, blocks, nimg):
    """Into `ranks` shares of `pieces` micro-batches of `blocks` groups."""
    draw, size = DRAWS[kind], blocks * group
    whole = draw(Noise(7, nimg, 0, group), ranks * pieces * size)
    cut = [draw(Noise(7, nimg, i * size, group), size) for i in range(ranks * pieces)]
    assert torch.equal(torch.cat(cut), whole)
    assert len(whole.unique()) > 1 or kind == "classes"


@pytest.mark.parametrize("kind", DRAWS)
def test_samples_names_moments_and_seeds_have_noise_of_their_own(kind):
    def rows(noise, name="x"):
        return [tuple(row.flatten().tolist()) for row in DRAWS[kind](noise, 40, name)]

    first = rows(Noise(0, 0))
    assert rows(Noise(0, 0)) == first
    for other in (rows(Noise(0, 0), "y"), rows(Noise(1, 0)), rows(Noise(0, 64)), rows(Noise(0, 0, 40))):
        same = sum(a == b for a, b in zip(first, other, strict=True))
        assert same <= (2 if kind == "classes" else 0)  # 40 pairs of 1000 classes


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("group", [1, 4, 32])
def test_normal_numbers_are_standard_normal(group, dtype):
    """Over samples, and over moments for one sample: the second is what a bad key would spoil."""
    at_once = Noise(0, 0, 0, group, dtype=dtype).normal("x", 8192, 4)
    over_time = torch.cat([Noise(0, 64 * i, 0, group, dtype=dtype).normal("x", group, 2)[:1] for i in range(4000)])
    for numbers in (at_once, over_time):
        assert numbers.dtype == dtype
        assert stats.kstest(numbers.flatten().numpy(), "norm").pvalue > 1e-3
        correlations = np.corrcoef(numbers.T.numpy()) - np.eye(numbers.shape[1])
        assert np.abs(correlations).max() < 4.5 / len(numbers) ** 0.5
    neighbours = np.corrcoef(at_once[:-1, 0], at_once[1:, 0])[0, 1]
    assert abs(neighbours) < 4.5 / len(at_once) ** 0.5


def test_uniform_numbers_are_uniform_in_0_to_1():
    numbers = Noise(0, 0).uniform("x", 20_000, 1, 1, 1)
    assert numbers.shape == (20_000, 1, 1, 1) and numbers.min() >= 0 and numbers.max() < 1
    assert stats.kstest(numbers.flatten().numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_classes_are_all_drawn_equally_often(classes):
    labels = Noise(0, 0, group=4).classes("x", 8000, classes)
    assert labels.dtype == torch.int64 and labels.min() == 0 and labels.max() == classes - 1
    counts = labels.bincount(minlength=classes).numpy()
    assert classes == 1 or stats.chisquare(counts).pvalue > 1e-3


def test_keys_do_not_collide_and_fill_63_bits():
    parts = itertools.product((0, 1, 11), ("x", "y", "discriminator latents"), range(0, 64 * 300, 64), range(64))
    keys = np.array([key(*p) for p in parts], np.uint64)
    assert len(np.unique(keys)) == len(keys) == 3 * 3 * 300 * 64
    bits = (keys[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).mean(0)
    assert bits[63] == 0 and np.abs(bits[:63] - 0.5).max() < 5 * 0.5 / len(keys) ** 0.5
    assert key(1, 11) != key(11, 1) and key("a", "b") != key("ab") and key(1, "1") != key("1", 1)


def test_initial_weights_are_a_function_of_the_seed():
    drawn = []
    for seed in (0, 0, 1):
        seed_everything(seed)
        drawn.append(torch.randn(5))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(("start", "n"), [(2, 4), (0, 6)])
def test_a_share_that_cuts_a_group_is_a_bug(start, n):
    with pytest.raises(AssertionError):
        Noise(0, 0, start, 4).normal("x", n, 2)
