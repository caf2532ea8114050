"""Two streams, crops, pairs, vectors and toys: functions of (seed, position), for any ranks, threads and starts."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from ganlab.data import BatchLoader, ShardData, ShardDataset
from ganlab.data.make.pack import pack
from ganlab.data.make.vectors import add_vectors
from ganlab.data.read.open import open_data
from ganlab.data.read.streams import Streams
from ganlab.keys import key
from ganlab.types import ImageSpec, Phase, UserError

BIG, SMALL = 37, 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`a`: 37 pairs of 8 px in 5 classes with vectors that are their numbers; `b`: 11 grey images of 6 px."""
    folder, draw = tmp_path_factory.mktemp("streams"), np.random.default_rng(0)
    for name in ("upper", "lower"):
        pixels = draw.integers(0, 256, (BIG, 8, 8, 3), np.uint8)
        np.savez(folder / f"{name}.npz", images=pixels, labels=np.arange(BIG) % 5)
    pack(folder / "upper.npz", folder / "a", size=8, shard_samples=10, partners=folder / "lower.npz")
    np.savez(folder / "b.npz", images=draw.integers(0, 256, (SMALL, 6, 6), np.uint8))
    pack(folder / "b.npz", folder / "b", size=6, shard_samples=3)
    np.save(folder / "numbers.npy", np.arange(BIG)[:, None] * [1, -2])
    add_vectors(folder / "a", folder / "numbers.npy")
    return folder


def loaders(folder, *, batch, world_size, **options):
    """Of every rank: crops of pairs with vectors, mirrored, beside grey images."""
    first = open_data(f"{folder}/a", crop=5)
    other = open_data(f"{folder}/b", crop=4)

    def loader(dataset, seed, rank):
        plan = Phase(0, dataset.image, batch)
        shared = {"rank": rank, "world_size": world_size, "mirror": True, **options}
        return BatchLoader(dataset, plan=lambda nimg: plan, seed=seed, **shared)

    return [Streams(loader(first, 4, rank), loader(other, key(4, "other"), rank)) for rank in range(world_size)]


def take(folder, images, *, batch=8, world_size=1, **options):
    """The first samples of both streams, the ranks' shares put together: tuples of bytes."""
    stream = []
    for shares in zip(*loaders(folder, batch=batch, world_size=world_size, **options), strict=True):
        for share in shares:
            assert list(share) == ["real", "labels", "vectors", "other", "other_labels"]
            assert share["real"].shape[1:] == (3, 10, 5) and share["other"].shape[1:] == (1, 4, 4)
            stream += zip(*([row.numpy().tobytes() for row in tensor] for tensor in share.values()), strict=True)
        if len(stream) >= images:
            return stream[:images]
    raise AssertionError("the stream ended")


@pytest.fixture(scope="module")
def stream(folder):
    return take(folder, 160)


@pytest.mark.slow
@given(
    start=st.integers(0, 110),
    share=st.integers(3, 8),
    world_size=st.sampled_from([1, 2, 4]),
    threads=st.sampled_from([1, 3]),
)
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_streams_do_not_depend_on_start_batch_ranks_or_threads(folder, stream, start, share, world_size, threads):
    part = take(folder, 50, batch=share * world_size, world_size=world_size, start=start, threads=threads)
    assert part == stream[start : start + 50]


def test_each_stream_has_its_own_epochs_and_vectors_stay_with_their_images(folder):
    first, other = open_data(f"{folder}/a"), open_data(f"{folder}/b")
    data = ShardData(first, batch=4, seed=9, other=other)
    shown = {name: [] for name in ("vectors", "other", "real", "labels")}
    for batch, _ in zip(data.loader(None, torch.device("cpu")), range(BIG), strict=False):
        for name, found in shown.items():
            found += [row.numpy().tobytes() for row in batch[name]]
    whole = np.empty((16, 8, 3), np.uint8)
    for vector, pixels, label in zip(shown["vectors"], shown["real"], shown["labels"], strict=True):
        number, twice = np.frombuffer(vector, np.float32)
        assert twice == -2 * number and first.read(int(number), whole) == np.frombuffer(label, np.int64)[0]
        assert whole.transpose(2, 0, 1).tobytes() == pixels
    for name, size in (("vectors", BIG), ("other", SMALL)):
        epochs = [shown[name][at : at + size] for at in range(0, 4 * BIG - size + 1, size)]
        assert all(len(set(epoch)) == size for epoch in epochs) and epochs[0] != epochs[1]
    assert data.fingerprint not in (first.fingerprint, other.fingerprint)
    assert data.fingerprint != ShardData(other, other=first).fingerprint


def test_a_growing_first_stream_takes_the_other_along(folder):
    """The other's images are then smaller in the same proportion."""

    def plan(nimg):
        return Phase(0, ImageSpec(8, 4, 3, 5), 4) if nimg < 4 else Phase(4, ImageSpec(16, 8, 3, 5), 4)

    data = ShardData(open_data(f"{folder}/a"), batch=None, other=open_data(f"{folder}/b"))
    module = SimpleNamespace(plan=plan, clock=SimpleNamespace(nimg=0))
    batches = iter(data.loader(module, torch.device("cpu")))
    sizes = [(batch["real"].shape[2:], batch["other"].shape[2:]) for batch, _ in zip(batches, range(2), strict=False)]
    assert sizes == [((8, 4), (3, 3)), ((16, 8), (6, 6))]


def test_crops_are_parts_of_their_images_the_same_of_both_halves(folder, stream):
    dataset, whole = open_data(f"{folder}/a"), np.empty((16, 8, 3), np.uint8)
    places = set()
    for pixels, _, vector, _, _ in stream:
        dataset.read(int(np.frombuffer(vector, np.float32)[0]), whole)
        crop = np.frombuffer(pixels, np.uint8).reshape(3, 10, 5).transpose(1, 2, 0)
        corners = [
            (top, left, flip)
            for top in range(4)
            for left in range(4)
            for flip in (1, -1)
            if (crop[:5, ::flip] == whole[top : top + 5, left : left + 5]).all()
            and (crop[5:, ::flip] == whole[8 + top : 13 + top, left : left + 5]).all()
        ]
        assert len(corners) == 1
        places.add(corners[0])
    assert len(places) > 28  # of 32: each corner and flip, drawn 160 times


def test_corners_are_uniform_and_read_gives_one_of_them(folder):
    crop = open_data(f"{folder}/a", crop=5).crop
    tops, lefts = crop.corners(np.arange(8000), 3, 10)
    assert stats.chisquare(np.bincount(4 * np.array(tops) + lefts, minlength=16)).pvalue > 1e-4
    small = open_data(f"{folder}/b", crop=4)
    out, whole = np.empty((4, 4, 1), np.uint8), np.empty((6, 6, 1), np.uint8)
    small.read(7, out)
    open_data(f"{folder}/b").read(7, whole)
    assert any((out == whole[t : t + 4, k : k + 4]).all() for t in range(3) for k in range(3))
    for wrong in (9, 0):
        with pytest.raises(UserError, match=rf"data\.crop: {wrong}, but the images are 8x8 px; write at most 8"):
            open_data(f"{folder}/a", crop=wrong)


@pytest.mark.parametrize("count", [1, 3])
def test_labelled_are_the_first_of_each_class_in_the_order_of_the_index(folder, count):
    index = open_data(f"{folder}/a").index
    few = ShardDataset(folder / "a", labelled=count)
    expected = sorted(i for k in range(5) for i in np.flatnonzero(index.samples["label"] == k)[:count])
    assert few.vectors[:, 0].tolist() == expected and len(few) == 5 * count
    plan = Phase(0, few.image, 5)
    batches = iter(BatchLoader(few, plan=lambda nimg: plan, seed=0))
    shown = [next(batches) for _ in range(count)]
    assert sorted(v for _, _, vectors in shown for v in vectors[:, 0].tolist()) == expected
    assert sorted(label for _, labels, _ in shown for label in labels.tolist()) == sorted(list(range(5)) * count)
    assert few.fingerprint != index.fingerprint
    assert [shard.samples for shard in few.index.shards] == [n for n in np.bincount(np.array(expected) // 10) if n]


def test_labelled_needs_enough_of_every_class(folder):
    with pytest.raises(UserError, match=r"labelled: 8, but class 2 of .*a has only 7 images; write at most 7"):
        open_data(f"{folder}/a", labelled=8)
    for url in (f"{folder}/b", "toy:gaussian"):
        with pytest.raises(UserError, match=f"the images of {url} have no classes"):
            open_data(url, labelled=1)
    with pytest.raises(UserError, match="labelled: 0: write at least 1"):
        open_data("toy:ring", labelled=0)


def test_vectors_are_checked_and_part_of_the_fingerprint(folder, tmp_path, flip):
    np.savez(tmp_path / "b.npz", images=np.zeros((4, 6, 6), np.uint8))
    index = pack(tmp_path / "b.npz", tmp_path / "b", size=6)
    for wrong, why in (
        (np.zeros((3, 2)), "3 vectors, but .* has 4 images"),
        (np.zeros(4), r"no array of numbers \[n, d\]"),
        (np.array([["x"]] * 4), r"no array of numbers \[n, d\]"),
        (np.array([[0.0], [np.nan], [0.0], [0.0]]), "row 1 holds NaN"),
    ):
        np.save(tmp_path / "wrong.npy", wrong)
        with pytest.raises(UserError, match=why):
            add_vectors(tmp_path / "b", tmp_path / "wrong.npy")
    np.save(tmp_path / "right.npy", np.arange(8).reshape(4, 2))
    found = add_vectors(tmp_path / "b", tmp_path / "right.npy")
    assert found.vectors.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert found.fingerprint != index.fingerprint and len(found.samples) == 4
    flip(tmp_path / "b" / "vectors.npy", 140)
    with pytest.raises(UserError, match=r"vectors\.npy: sha256 .* damaged"):
        ShardDataset(tmp_path / "b")


@pytest.fixture
def photos(tmp_path):
    """Folders `a` and `b` of two classes with images of the same names, and of other types."""
    draw = np.random.default_rng(1)
    for name, suffix, size in (("a", "png", (8, 12)), ("b", "bmp", (16, 24))):
        for at in ("x/1", "x/2", "y/1"):
            path = tmp_path / name / f"{at}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return tmp_path


def test_pairs_are_matched_by_name_one_above_the_other(photos, tmp_path):
    index = pack(photos / "a", tmp_path / "ab", size=8, partners=photos / "b", pyramid=True)
    assert index.image == ImageSpec(16, 8, 3, 2) and index.pairs and index.pyramid == (8,)
    assert pack(photos / "a", tmp_path / "ab", size=8, partners=photos / "b", pyramid=True).image == index.image
    above, below = (pack(photos / name, tmp_path / f"{name}-alone", size=8) for name in "ab")
    out, half = np.empty((16, 8, 3), np.uint8), np.empty((8, 8, 3), np.uint8)
    for i in range(3):
        label = ShardDataset(tmp_path / "ab").read(i, out)
        for alone, part in ((above, out[:8]), (below, out[8:])):
            assert ShardDataset(alone.folder).read(i, half) == label
            assert np.abs(half.astype(int) - part).mean() < 30  # the lower one was resized twice
        assert (ShardDataset(above.folder).read(i, half), half.tobytes()) == (label, out[:8].tobytes())


def test_an_image_without_a_partner_is_named(photos, tmp_path):
    (photos / "b" / "x" / "2.bmp").rename(photos / "b" / "x" / "3.bmp")
    with pytest.raises(UserError, match=r"a/x/2\.png: no partner of the same name .*x/1"):
        pack(photos / "a", tmp_path / "ab", size=8, partners=photos / "b")
    (photos / "a" / "x" / "2.png").unlink()
    with pytest.raises(UserError, match=r"b/x/3\.bmp: no partner"):
        pack(photos / "a", tmp_path / "ab", size=8, partners=photos / "b")
    Image.new("RGB", (9, 9)).save(photos / "a" / "x" / "3.png")
    with pytest.raises(UserError, match="9x9 and 24x16 px"):
        pack(photos / "a", tmp_path / "ab", size=8, partners=photos / "b")
    Image.new("RGB", (9, 9)).save(photos / "a" / "x" / "3.jpg")
    with pytest.raises(UserError, match="a second image called x/3"):
        pack(photos / "a", tmp_path / "ab", size=8, partners=photos / "b")


TOYS = ["toy:ring?samples=30", "toy:gaussian?samples=30", "toy:digits?samples=30&size=10&channels=1"]


@given(
    url=st.sampled_from(TOYS), start=st.integers(0, 70), share=st.integers(1, 9), world_size=st.sampled_from([1, 2, 4])
)
@settings(max_examples=4)
def test_toys_are_functions_of_seed_and_position(url, start, share, world_size):
    dataset = open_data(url)
    plan = Phase(0, dataset.image, share * world_size)

    def shares(world_size, plan, start):
        loaders = [
            iter(BatchLoader(dataset, plan=lambda nimg: plan, seed=5, rank=r, world_size=world_size, start=start))
            for r in range(world_size)
        ]
        return [torch.cat(tensors) for tensors in zip(*map(next, loaders), strict=True)]

    images, labels = shares(world_size, plan, start)
    wanted = dataset.order(5)(np.arange(start, start + len(images)))
    out = np.empty((dataset.image.height, dataset.image.width, dataset.image.channels), dataset.pixel)
    for i, image, label in zip(wanted.tolist(), images, labels.tolist(), strict=True):
        assert dataset.read(i, out) == label and (out == image.permute(1, 2, 0).numpy()).all()
    one, same = shares(1, replace(plan, batch=len(images)), start)
    assert torch.equal(one, images) and torch.equal(same, labels)


def many(url, n=20_000):
    """The values [n, coordinates] and classes of a toy's first samples."""
    places = open_data(url).places(np.arange(n), 1)
    return np.stack([place.pixels[0, 0] for place in places]).astype(float), np.array([p.label for p in places])


@pytest.mark.slow
def test_points_are_distributed_as_they_say():
    values, labels = many("toy:gaussian?mean=-1&std=2&extent=4")
    assert stats.kstest(values[:, 0] * 4, stats.norm(-1, 2).cdf).pvalue > 1e-4 and set(labels) == {-1}
    for url, centres, std in (
        ("toy:ring", [(2 * np.cos(k * np.pi / 4) / 4, 2 * np.sin(k * np.pi / 4) / 4) for k in range(8)], 0.005),
        ("toy:grid?side=3", [(x / 2.5, y / 2.5) for y in (-1, 0, 1) for x in (-1, 0, 1)], 0.01),
    ):
        values, labels = many(url)
        assert stats.chisquare(np.bincount(labels, minlength=len(centres))).pvalue > 1e-4
        apart = (values - np.array(centres)[labels]) / std
        assert all(stats.kstest(apart[:, axis], "norm").pvalue > 1e-4 for axis in (0, 1))
        assert abs(np.corrcoef(apart.T)[0, 1]) < 0.03
    values, labels = many("toy:lines")
    assert not values[:, 0].any() and stats.kstest(values[:, 1], "uniform").pvalue > 1e-4 and set(labels) == {-1}
    assert not np.array_equal(many("toy:ring")[0], many("toy:ring?seed=1")[0])
    assert open_data("toy:ring").fingerprint == open_data("toy:ring?modes=8").fingerprint != "" and (
        open_data("toy:ring").fingerprint != open_data("toy:ring?modes=9").fingerprint
    )


def test_digits_are_the_digits_of_their_class():
    """Each channel of a picture is one glyph: cut out, shrunk, and found in the font, it is the class's digit."""
    from ganlab.data.read.distributions import FONT

    dataset, wanted = open_data("toy:digits?size=20"), set()
    for place in dataset.places(np.arange(200), 20):
        assert place.pixels.shape == (20, 20, 3)
        for channel, digit in enumerate(f"{place.label:03d}"):
            rows, columns = np.nonzero(place.pixels[..., channel])
            cut = place.pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, channel]
            scale = len(cut) // 5
            small = cut[::scale, ::scale] > 0
            assert (small == (FONT[int(digit)][:, FONT[int(digit)].any(0)] > 0)).all()
            wanted.add((digit, scale))
    assert len(wanted) == 20  # ten digits of two sizes
    few = open_data("toy:digits?channels=1&size=10", labelled=2)
    assert len(few) == 20 and sorted(p.label for p in few.places(np.arange(20), 10)) == sorted([*range(10)] * 2)
    (small,) = open_data("toy:digits?size=20").places(np.array([3]), 10)
    (large,) = open_data("toy:digits?size=20").places(np.array([3]), 20)
    assert (small.pixels == np.floor(large.pixels.reshape(10, 2, 10, 2, 3).mean((1, 3)) + 0.5)).all()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "toy:rign",
            "no such toy; write one of toy:gaussian, toy:dirac, toy:ring, toy:grid, toy:lines, ",
        ),
        ("toy:ring?mode=3", "toy:ring has no mode; it has samples, seed, modes, radius, std, extent"),
        ("toy:ring?modes=2.5", "modes=2.5: write a whole number, more than 0"),
        ("toy:grid?std=0", "std=0: write a number, more than 0"),
        ("toy:gaussian?mean=nan", "mean=nan: write a number"),
        ("toy:digits?size=4", "a size of at least 5"),
        ("toy:digits?channels=2", "1 or 3 channels"),
    ],
)
def test_what_no_toy_is_is_refused(url, why):
    with pytest.raises(UserError, match=why):
        open_data(url)
