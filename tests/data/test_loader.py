import threading
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganlab.data.loader import BatchLoader, Reader
from ganlab.data.pack import pack
from ganlab.data.shards import Index
from ganlab.types import ImageSpec, Phase, UserError

SAMPLES = 37


@pytest.fixture(scope="module")
def source():
    """Images of noise, and labels."""
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (SAMPLES, 8, 8, 3), np.uint8), draw.integers(0, 5, SAMPLES)


@pytest.fixture(scope="module")
def index(source, tmp_path_factory):
    """Those images in shards of 10, 10, 10 and 7."""
    folder = tmp_path_factory.mktemp("loader")
    np.savez(folder / "noise.npz", images=source[0], labels=source[1])
    return pack(folder / "noise.npz", folder / "shards", size=8, shard_samples=10)


def constant(index, batch):
    return lambda nimg: Phase(0, index.image, batch)


def take(index, images, *, batch, world_size=1, **options):
    """The first images of the stream with their labels, the ranks' shares put together."""
    loaders = [
        iter(BatchLoader(index, plan=constant(index, batch), seed=4, rank=rank, world_size=world_size, **options))
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
def stream(index):
    return take(index, 200, batch=8)


def test_images_and_labels_are_those_of_the_source_each_once_an_epoch(source, stream):
    expected = sorted((pixels.transpose(2, 0, 1).tobytes(), int(label)) for pixels, label in zip(*source, strict=True))
    for epoch in range(5):
        assert sorted(stream[epoch * SAMPLES : (epoch + 1) * SAMPLES]) == expected
    assert stream[:SAMPLES] != stream[SAMPLES : 2 * SAMPLES]


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("batch", [8, 64])
def test_stream_does_not_depend_on_threads_ranks_or_batch(index, stream, threads, world_size, batch):
    assert take(index, 200, batch=batch, threads=threads, world_size=world_size) == stream


@given(st.integers(0, 150), st.integers(1, 12))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_loader_that_starts_later_gives_the_rest(index, stream, start, batch):
    assert take(index, 50, batch=batch, start=start) == stream[start : start + 50]


def test_every_iteration_begins_anew(index, stream):
    loader = BatchLoader(index, plan=constant(index, 8), seed=4)
    for _ in range(2):
        pixels, _ = next(iter(loader))
        assert [image.numpy().tobytes() for image in pixels] == [data for data, _ in stream[:8]]


def test_another_seed_is_another_stream(index, stream):
    pixels, _ = next(iter(BatchLoader(index, plan=constant(index, 8), seed=5)))
    assert [image.numpy().tobytes() for image in pixels] != [data for data, _ in stream[:8]]


def test_a_batch_that_ranks_cannot_share_is_refused(index):
    with pytest.raises(UserError, match=r"train\.batch: 10 images cannot be shared equally by 4 processes"):
        next(iter(BatchLoader(index, plan=constant(index, 10), seed=0, world_size=4)))


def test_no_threads_are_refused(index):
    with pytest.raises(UserError, match=r"decode_threads: 0 .* at least 1"):
        BatchLoader(index, plan=constant(index, 8), seed=0, threads=0)


def test_a_damaged_image_is_named(packed, flip):

    index = Index.open(packed)
    row = index.samples[13]
    offset, size, crc32 = int(row["offset"]), int(row["size"]), int(row["crc32"])
    flip(packed / "shard-000001.tar", offset + size // 2, bit=3)
    with pytest.raises(UserError) as error:
        for _ in zip(range(6), BatchLoader(index, plan=constant(index, 4), seed=0), strict=False):
            pass

    found = zlib.crc32((packed / "shard-000001.tar").read_bytes()[offset : offset + size])
    assert f"shard-000001.tar: image at byte {offset}: damaged" in str(error.value)
    assert f"{found:08x}" in str(error.value) and f"{crc32:08x}" in str(error.value) and found != crc32
    assert f"ganlab data check {packed}" in str(error.value)
    out = np.empty((8, 8, 3), np.uint8)
    reader = Reader(index)
    for other in set(range(24)) - {13}:
        reader.read(other, out)


def test_no_thread_outlives_an_iteration(index, packed, flip):
    def decoding():
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]

    def broken_off():
        for _ in BatchLoader(index, plan=constant(index, 8), seed=0, threads=4):
            assert len(decoding()) > 0
            break

    assert decoding() == []
    broken_off()
    assert decoding() == []
    batches = iter(BatchLoader(index, plan=constant(index, 8), seed=0))
    next(batches)
    batches.close()
    assert decoding() == []
    for shard in packed.glob("*.tar"):
        shard.write_bytes(bytes(shard.stat().st_size))

    with pytest.raises(UserError):
        next(iter(BatchLoader(Index.open(packed), plan=constant(Index.open(packed), 4), seed=0)))
    assert decoding() == []


def test_sizes_and_numbers_may_change_along_the_way(index, source):
    small = ImageSpec(4, 4, 3, 5)
    plan = [Phase(0, small, 4), Phase(12, index.image, 8)]
    stream = BatchLoader(index, plan=lambda nimg: plan[nimg >= 12], seed=4)
    batches = [pixels for (pixels, _), _ in zip(stream, range(5), strict=False)]
    assert [pixels.shape for pixels in batches] == [(4, 3, 4, 4)] * 3 + [(8, 3, 8, 8)] * 2
    whole, _ = next(iter(BatchLoader(index, plan=constant(index, 28), seed=4)))
    assert torch.equal(torch.cat(batches[3:]), whole[12:28])
    boxes = torch.nn.functional.avg_pool2d(whole[:12].double(), 2).add(0.5).floor().to(torch.uint8)
    assert torch.equal(torch.cat(batches[:3]), boxes)
