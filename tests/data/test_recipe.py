import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image
from repository import REPOSITORY

from ganlab.data.format.decode import decode, fit
from ganlab.data.format.shards import Index
from ganlab.data.make.pack import _same, pack
from ganlab.data.make.recipe import heights
from ganlab.data.read.dataset import ShardDataset
from ganlab.types import ImageSpec, UserError


def noise(path, count=20, size=32):
    np.save(path, np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8))
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def members(index, height):
    """Decode every image from the member that serves a height."""
    for place in index.places(np.arange(len(index)), height):
        with (index.folder / index.shards[place.shard].name).open("rb") as file:
            file.seek(place.offset)
            yield np.array(Image.open(io.BytesIO(file.read(place.size))))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_a_pyramid_is_of_box_averages_of_the_image(tmp_path, image_format, channels):
    path = noise(tmp_path / "a.npy")
    index = pack(path, tmp_path / "d", size=32, image_format=image_format, channels=channels, pyramid=True)
    assert index.pyramid == (4, 8, 16)
    masters = list(members(index, 32))
    for height in index.pyramid:
        box = 32 // height
        for master, found in zip(masters, members(index, height), strict=True):
            expected = [  # whole sums, divided once: no average of rounded averages
                [master[y : y + box, x : x + box].astype(int).sum((0, 1)) for x in range(0, 32, box)]
                for y in range(0, 32, box)
            ]
            assert (found == (2 * np.array(expected) + box**2) // (2 * box**2)).all()


def test_a_jpeg_pyramid_is_close_and_keeps_its_colours(tmp_path):
    y, x = np.mgrid[0:32, 0:32]
    smooth = np.stack([8 * x, 8 * y, 255 - 8 * x], -1).astype(np.uint8)
    np.save(tmp_path / "a.npy", smooth[None])
    index = pack(tmp_path / "a.npy", tmp_path / "d", size=32, image_format="jpeg", pyramid=True)
    for height in index.pyramid:
        (found,) = members(index, height)
        box = smooth.reshape(height, 32 // height, height, 32 // height, 3).mean((1, 3))
        assert np.abs(found - box).mean() < 3


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (8, (4,)),
        (16, (4, 8)),
        (1024, (4, 8, 16, 32, 64, 128, 256, 512)),
        (48, (6, 12, 24)),
        ((96, 64), (6, 12, 24, 48)),
        ((16, 40), (4, 8)),
    ],
)
def test_heights_halve_until_the_shorter_side_is_below_eight(size, expected):
    assert heights(size) == expected


@pytest.mark.parametrize("size", [1, 4, 7, 100, (64, 36), (100, 64)])
def test_sizes_without_a_pyramid(tmp_path, size):
    name = size if isinstance(size, int) else "{}x{}".format(*size)
    with pytest.raises(UserError, match=f"size {name}: a pyramid halves it until its shorter side is from 4 to 7 px"):
        pack(noise(tmp_path / "a.npy"), tmp_path / "d", size=size, pyramid=True)


def test_a_set_that_is_not_square_its_pyramid_and_its_batches(tmp_path):
    index = pack(noise(tmp_path / "a.npy", size=40), tmp_path / "d", size=(32, 16), pyramid=True)
    assert index.image == ImageSpec(32, 16, 3) and index.pyramid == (8, 16) and index.pack["size"] == [32, 16]
    assert [picture.shape for picture in members(index, 8)] == [(8, 4, 3)] * 20
    dataset = ShardDataset(tmp_path / "d")
    whole, half = np.empty((32, 16, 3), np.uint8), np.empty((16, 8, 3), np.uint8)
    dataset.read(3, whole), dataset.read(3, half)
    means = whole.reshape(16, 2, 8, 2, 3).astype(float).mean((1, 3))
    assert (half == (means + 0.5).astype(np.uint8)).all()


@pytest.mark.parametrize(
    ("crop", "size", "expected"),
    [
        ("center", (4, 8), [[50] * 2 + [150] * 4 + [250] * 2] * 4),  # of 12 x 16 pixels the middle 8 rows
        ("center", (4, 4), [[100, 150, 150, 200]] * 4),  # of 16 columns the middle 12
        ("fit", (6, 10), [[0] + [50] * 2 + [150] * 4 + [250] * 2 + [0]] * 6),
        ("none", (6, 8), [[50] * 2 + [150] * 4 + [250] * 2] * 6),
    ],
)
def test_a_picture_of_another_shape(crop, size, expected):
    picture = Image.fromarray(np.array([[50] * 4 + [150] * 8 + [250] * 4] * 12, np.uint8))
    made = np.array(fit(picture, size, 1, crop)).astype(int)
    assert made.shape == size
    assert np.abs(made - expected).max() <= 34  # where Lanczos rings at the steps; the padding's edge is exact
    sliver = fit(picture.resize((1, 500)), size, 1, crop if crop != "none" else "fit")
    assert sliver.size == (size[1], size[0])
    if crop == "fit":
        assert (made[:, [0, -1]] == 0).all() and (made[:, 1:-1] > 40).all()
        assert (np.array(fit(picture, size, 4, crop))[:, 0] == 0).all()  # transparent


def test_what_no_crop_refuses_is_named_and_its_remedies_work(tmp_path, photos):
    with pytest.raises(
        UserError,
        match=r"/\w+/\d\.png: 14x20 pixels are of another shape than 8x8, which --crop none refuses; .* --crop fit",
    ):
        pack(photos, tmp_path / "d", size=8, crop="none")
    for crop in ("fit", "center"):
        index = pack(photos, tmp_path / crop, size=8, crop=crop)
        assert index.pack["crop"] == crop
    for there, here in (("center", "fit"), ("fit", "center")):
        with pytest.raises(UserError, match=f"other arguments: crop '{there}' there, '{here}' here"):
            pack(photos, tmp_path / there, size=8, crop=here)
    _same(tmp_path, {"seed": 0}, {"seed": 0, "crop": "center"})  # packed before there was a choice
    assert pack(photos, tmp_path / "whole", size=(7, 10), crop="none").image == ImageSpec(7, 10, 3, 3)


def test_webdataset_reads_images_classes_and_levels(photos, tmp_path):
    index = pack(photos, tmp_path / "d", size=16, pyramid=True, shard_samples=10)
    urls = [str(index.folder / shard.name) for shard in index.shards]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [f"{i:09d}" for i in range(24)]
    assert [sample["cls"] for sample in samples] == index.samples["label"].tolist()
    for suffix, height in (("png", 16), ("r008.png", 8), ("r004.png", 4)):
        for sample, ours in zip(samples, members(index, height), strict=True):
            assert (np.array(sample[suffix]) == ours).all() and ours.shape == (height, height, 3)
    place = index.place(3, 5)
    with (index.folder / index.shards[0].name).open("rb") as file:
        file.seek(place.offset)
        assert decode(file.read(place.size), ImageSpec(8, 8, 3)).shape == (8, 8, 3)


def test_arguments_with_another_pyramid_are_named(photos, tmp_path):
    pack(photos, tmp_path / "d", size=8, pyramid=True)
    with pytest.raises(UserError, match=r"other arguments: pyramid \[4\] there, \[\] here"):
        pack(photos, tmp_path / "d", size=8)


@pytest.mark.multi
@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_the_bytes_do_not_depend_on_the_workers(photos, tmp_path, image_format):
    for workers in (1, 2, 5):
        pack(
            photos,
            tmp_path / str(workers),
            size=8,
            image_format=image_format,
            pyramid=True,
            shard_samples=10,
            workers=workers,
        )
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "5")


@pytest.mark.multi
def test_a_broken_image_stops_the_workers_and_is_named(photos, tmp_path):
    (tmp_path / "s").mkdir()
    for i in range(40):
        (tmp_path / "s" / f"{i:02d}.png").write_bytes(
            (photos / "ant" / "0.png").read_bytes()[: 50 if i == 17 else None]
        )
    with pytest.raises(UserError, match=r"s/17\.png: cannot be decoded"):
        pack(tmp_path / "s", tmp_path / "d", size=4, channels=3, shard_samples=10, workers=2)
    assert "index.json" not in contents(tmp_path / "d")


def begin(source, dest, *options):
    """Start a pack with workers; return once it is in its third shard."""
    command = [sys.executable, "-m", "ganlab", "data", "pack", source, dest, "--size", "128", "--pyramid"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [*map(str, command), "--shard-samples", "15", *options], env=environment, start_new_session=True
    )
    while not (dest / "shard-000002.tar.tmp").exists():
        assert process.poll() is None
        time.sleep(0.002)
    return process


def members_of_session(session):
    """List the processes of a session that still run."""
    return [
        int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and _session(folder) == session
    ]


def _session(folder):
    try:
        state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:  # gone meanwhile
        return None
    return None if state == "Z" else int(session)


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_kill_9_with_workers_leaves_none_behind_and_resumes_to_the_same_bytes(tmp_path):
    source = noise(tmp_path / "many.npy", count=150)
    whole = pack(source, tmp_path / "whole", size=128, pyramid=True, shard_samples=15)
    process = begin(source, tmp_path / "d", "--workers", "2")
    try:
        with pytest.raises(UserError, match=r"in use by process \d+ on .*; wait until that `ganlab data pack` ends"):
            pack(source, tmp_path / "d", size=128, pyramid=True, shard_samples=15)
    finally:
        os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while members_of_session(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "d").glob("*.tar")}
    assert 2 <= len(kept) < 10 and "index.json" not in contents(tmp_path / "d")
    found = pack(source, tmp_path / "d", size=128, pyramid=True, shard_samples=15, workers=2)
    assert found.fingerprint == whole.fingerprint
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(tmp_path / "d") == contents(tmp_path / "whole")
    assert Index.open(tmp_path / "d").pyramid == (4, 8, 16, 32, 64)


def test_a_disk_that_fills_up_is_one_clear_error_and_the_pack_goes_on_when_there_is_room(small_disk, tmp_path):
    source, disk = noise(tmp_path / "a.npy", count=300), small_disk("600k")
    with pytest.raises(UserError, match=r"d: cannot be written \(No space left on device\); make room there") as error:
        pack(source, disk / "d", size=32, shard_samples=50)
    assert "\n" not in str(error.value)
    left = sorted(contents(disk / "d"))
    assert left[0] == "pack.json" and left[1:] == [f"shard-00000{i}.tar" for i in range(len(left) - 1)]
    assert 0 < len(left) - 1 < 6
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    found = pack(source, disk / "d", size=32, shard_samples=50)
    assert found.fingerprint == pack(source, tmp_path / "whole", size=32, shard_samples=50).fingerprint
