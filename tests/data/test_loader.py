import threading
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganlab.data import BatchLoader, ShardDataset
from ganlab.data.make.pack import pack
from ganlab.data.read.loader import AHEAD
from ganlab.types import ImageSpec, Phase, UserError

SAMPLES = 37


@pytest.fixture(scope="module")
def source():
    """Images of noise, and labels."""
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (SAMPLES, 8, 8, 3), np.uint8), draw.integers(0, 5, SAMPLES)


@pytest.fixture(scope="module")
def dataset(source, tmp_path_factory):
    """Those images in shards of 10, 10, 10 and 7."""
    folder = tmp_path_factory.mktemp("loader")
    np.savez(folder / "noise.npz", images=source[0], labels=source[1])
    pack(folder / "noise.npz", folder / "shards", size=8, shard_samples=10)
    return ShardDataset(folder / "shards", window=2)


def constant(dataset, batch):
    return lambda nimg: Phase(0, dataset.image, batch)


def take(dataset, images, *, batch, world_size=1, **options):
    """The first images of the stream with their labels, the ranks' shares put together."""
    loaders = [
        iter(BatchLoader(dataset, plan=constant(dataset, batch), seed=4, rank=rank, world_size=world_size, **options))
        for rank in range(world_size)
    ]
    stream = []
    for shares in zip(*loaders, strict=True):
        for pixels, labels in shares:
            assert pixels.dtype == torch.uint8 and pixels.shape == (batch // world_size, 3, 8, 8)
            assert labels.dtype == torch.int64
            stream += [(image.numpy().tobytes(), int(label)) for image, label in zip(pixels, labels, strict=True)]
        if len(stream) >= images:
            return stream[:images]
    raise AssertionError("the stream ended")


@pytest.fixture(scope="module")
def stream(dataset):
    return take(dataset, 200, batch=8)


def test_images_and_labels_are_those_of_the_source_each_once_an_epoch(source, stream):
    expected = sorted((pixels.transpose(2, 0, 1).tobytes(), int(label)) for pixels, label in zip(*source, strict=True))
    for epoch in range(5):
        assert sorted(stream[epoch * SAMPLES : (epoch + 1) * SAMPLES]) == expected
    assert stream[:SAMPLES] != stream[SAMPLES : 2 * SAMPLES]


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("batch", [8, 64])
def test_stream_does_not_depend_on_threads_ranks_or_batch(dataset, stream, threads, world_size, batch):
    assert take(dataset, 200, batch=batch, threads=threads, world_size=world_size) == stream


@pytest.mark.slow
@given(st.integers(0, 150), st.integers(1, 12))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_loader_that_starts_later_gives_the_rest(dataset, stream, start, batch):
    assert take(dataset, 50, batch=batch, start=start) == stream[start : start + 50]


def test_every_iteration_begins_anew(dataset, stream):
    loader = BatchLoader(dataset, plan=constant(dataset, 8), seed=4)
    for _ in range(2):
        pixels, _ = next(iter(loader))
        assert [image.numpy().tobytes() for image in pixels] == [data for data, _ in stream[:8]]


def test_another_seed_is_another_stream(dataset, stream):
    pixels, _ = next(iter(BatchLoader(dataset, plan=constant(dataset, 8), seed=5)))
    assert [image.numpy().tobytes() for image in pixels] != [data for data, _ in stream[:8]]


def test_a_batch_that_ranks_cannot_share_is_refused(dataset):
    with pytest.raises(UserError, match=r"train\.batch: 10 images cannot be shared equally by 4 processes"):
        next(iter(BatchLoader(dataset, plan=constant(dataset, 10), seed=0, world_size=4)))


def test_no_threads_are_refused(dataset):
    with pytest.raises(UserError, match=r"decode_threads: 0 .* at least 1"):
        BatchLoader(dataset, plan=constant(dataset, 8), seed=0, threads=0)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_a_bad_sample_is_replaced_by_one_that_its_position_names(packed, flip, world_size):
    """The same images for any number of ranks; the bad one is counted once, with what is wrong with it."""
    whole = take(ShardDataset(packed), 96, batch=4)
    dataset = ShardDataset(packed)
    offset, size, crc32, _ = dataset.index.samples[13].tolist()
    flip(packed / "shard-000001.tar", offset + size // 2, bit=3)
    stream = take(dataset, 96, batch=4, world_size=world_size)
    bad_positions = np.flatnonzero(dataset.order(4)(np.arange(96)) == 13)
    assert len(bad_positions) == 4
    for position in range(96):
        assert (stream[position] == whole[position]) == (position not in bad_positions)
        assert stream[position] in whole
    assert stream == take(ShardDataset(packed), 96, batch=48)
    found = zlib.crc32((packed / "shard-000001.tar").read_bytes()[offset : offset + size])
    (bad,) = dataset.faults.all()
    assert (bad.sample, bad.key, bad.offset) == (13, "000000013.png", offset) and bad.shard.endswith("shard-000001.tar")
    assert bad.cause == f"its crc32 is {found:08x}, the index says {crc32:08x}" and found != crc32


def test_too_many_bad_samples_end_the_stream_with_their_list(packed, flip):
    index = ShardDataset(packed).index
    for sample in (3, 13, 21):
        place = index.place(sample, 8)
        flip(packed / index.shards[place.shard].name, place.offset + 30)
    assert len(take(ShardDataset(packed, max_bad=3), 96, batch=4)) == 96
    assert len(take(ShardDataset(packed, max_bad=0, max_bad_fraction=0.125), 96, batch=4)) == 96
    with pytest.raises(UserError) as error:
        take(ShardDataset(packed, max_bad=2), 96, batch=4)
    said = str(error.value)
    assert said.startswith("3 bad samples, more than the 2 that data.max_bad allows:\n  ")
    assert all(f"{sample:09d}.png at byte " in said for sample in (3, 13, 21))


def test_no_thread_outlives_an_iteration(dataset, packed, flip):
    def decoding():
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]

    def broken_off():
        for _ in BatchLoader(dataset, plan=constant(dataset, 8), seed=0, threads=4):
            assert len(decoding()) > 0
            break

    assert decoding() == []
    broken_off()
    assert decoding() == []
    batches = iter(BatchLoader(dataset, plan=constant(dataset, 8), seed=0))
    next(batches)
    batches.close()
    assert decoding() == []
    for shard in packed.glob("*.tar"):
        shard.write_bytes(bytes(shard.stat().st_size))

    with pytest.raises(UserError, match="10 of them in a row at one position"):
        take(ShardDataset(packed), 4, batch=4)
    assert decoding() == []


def test_sizes_and_numbers_may_change_along_the_way(dataset, source):
    small = ImageSpec(4, 4, 3, 5)
    plan = [Phase(0, small, 4), Phase(12, dataset.image, 8)]
    stream = BatchLoader(dataset, plan=lambda nimg: plan[nimg >= 12], seed=4)
    batches = [pixels for (pixels, _), _ in zip(stream, range(5), strict=False)]
    assert [pixels.shape for pixels in batches] == [(4, 3, 4, 4)] * 3 + [(8, 3, 8, 8)] * 2
    whole, _ = next(iter(BatchLoader(dataset, plan=constant(dataset, 28), seed=4)))
    assert torch.equal(torch.cat(batches[3:]), whole[12:28])
    boxes = torch.nn.functional.avg_pool2d(whole[:12].double(), 2).add(0.5).floor().to(torch.uint8)
    assert torch.equal(torch.cat(batches[:3]), boxes)


@pytest.mark.slow
def test_half_of_the_images_are_mirrored_as_their_position_says(dataset, stream):
    mirrored = take(dataset, 200, batch=8, mirror=True)
    assert mirrored == take(dataset, 200, batch=40, world_size=4, threads=3, mirror=True)

    def flipped(data):
        return np.frombuffer(data, np.uint8).reshape(3, 8, 8)[..., ::-1].tobytes()

    pairs = list(zip(mirrored, stream, strict=True))
    assert all(ours[1] == plain[1] and ours[0] in (plain[0], flipped(plain[0])) for ours, plain in pairs)
    assert 70 < sum(ours != plain for ours, plain in pairs) < 130  # 4 standard deviations


def test_memory_is_used_again_but_never_under_a_batch_that_somebody_holds(dataset, stream):
    loader = BatchLoader(dataset, plan=constant(dataset, 8), seed=4)
    batches, seen, held = iter(loader), set(), []
    for number in range(100):
        pixels, _ = next(batches)
        seen.add(pixels.data_ptr())
        if number < 10:
            held.append(pixels[3])  # a view keeps the whole
    assert [image.numpy().tobytes() for image in held] == [data for data, _ in stream[3:80:8]]
    assert len(seen) <= 10 + AHEAD + 3


def test_a_smaller_size_is_read_from_the_pyramid(source, tmp_path, flip):
    """The smallest copy that is large enough: the whole image may be damaged meanwhile."""
    np.savez(tmp_path / "noise.npz", images=source[0], labels=source[1])
    pack(tmp_path / "noise.npz", tmp_path / "shards", size=32, shard_samples=10, pyramid=True)
    dataset = ShardDataset(tmp_path / "shards")
    assert 16 in dataset.index.pyramid
    small, whole = np.empty((16, 16, 3), np.uint8), np.empty((32, 32, 3), np.uint8)
    label = dataset.read(5, whole)
    assert dataset.read(5, small) == label
    boxes = whole.astype(float).reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert (small == np.floor(boxes + 0.5)).all()
    flip(tmp_path / "shards" / "shard-000000.tar", int(dataset.index.samples["offset"][5]) + 40)
    again = np.empty((16, 16, 3), np.uint8)
    assert dataset.read(5, again) == label and (again == small).all()
    with pytest.raises(UserError, match="crc32"):
        dataset.read(5, whole)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_a_replacement_or_changes_nothing(packed, flip, data):
    """Anywhere in a shard: headers and padding do not matter to a reader with an index, images do."""
    dataset = ShardDataset(packed)
    path = packed / "shard-000001.tar"
    whole, out, expected = path.read_bytes(), np.empty((8, 8, 3), np.uint8), np.empty((10, 8, 8, 3), np.uint8)
    labels = [dataset.read(10 + i, pixels) for i, pixels in enumerate(expected)]
    byte = data.draw(st.integers(0, len(whole) - 1))
    flip(path, byte, data.draw(st.integers(0, 7)))
    try:
        for i in range(10):
            offset, size, _, _ = dataset.index.samples[10 + i].tolist()
            if offset <= byte < offset + size:
                with pytest.raises(UserError, match=rf"{10 + i:09d}\.png at byte {offset:,}: its crc32"):
                    dataset.read(10 + i, out)
            else:
                assert dataset.read(10 + i, out) == labels[i] and (out == expected[i]).all()
    finally:
        path.write_bytes(whole)


def test_a_shard_cut_short_under_a_reader(packed):
    dataset, out = ShardDataset(packed), np.empty((8, 8, 3), np.uint8)
    path = packed / "shard-000001.tar"
    rows = dataset.index.samples[10:20]
    ends = [*rows["offset"].tolist(), *(rows["offset"] + rows["size"] // 2).tolist()]
    for end in sorted(ends, reverse=True):
        with path.open("r+b") as file:
            file.truncate(end)
        for i, (offset, size, _, label) in enumerate(rows.tolist(), 10):
            if offset + size <= end:
                assert dataset.read(i, out) == label
            else:
                with pytest.raises(UserError, match="the shard ends after"):
                    dataset.read(i, out)
