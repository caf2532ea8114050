import gzip
import json
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

from ganlab.data.format.decode import decode, fit
from ganlab.data.format.shards import Index
from ganlab.data.make.pack import pack
from ganlab.data.make.sources import open_source
from ganlab.types import UserError


def read_by_webdataset(index):
    """Pixels and labels as a reader that is not ours finds them."""
    urls = [str(index.folder / shard.name) for shard in index.shards]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [f"{i:09d}" for i in range(len(index))]
    suffix = next(key for key in samples[0] if key in ("png", "jpg", "webp"))
    return [np.array(sample[suffix]) for sample in samples], [sample.get("cls") for sample in samples]


def read_by_index(index):
    pixels = []
    for place in index.places(np.arange(len(index)), index.image.height):
        with (index.folder / index.shards[place.shard].name).open("rb") as file:
            file.seek(place.offset)
            pixels.append(decode(file.read(place.size), index.image))
    return pixels


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_webdataset_reads_the_same_as_the_index_and_as_the_source(photos, tmp_path, image_format):
    index = pack(photos, tmp_path / "d", size=14, image_format=image_format, shard_samples=10)
    pixels, labels = read_by_webdataset(index)
    files = sorted(photos.rglob("*.png"))
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(files))
    for i, (found, ours) in enumerate(zip(pixels, read_by_index(index), strict=True)):
        file = files[order[i]]
        expected = np.array(Image.open(file))[:, 3:17]  # the centre square: no resampling
        assert (found.reshape(14, 14, 3) == expected).all() and (ours == expected).all()
        assert index.class_names[labels[i]] == index.class_names[index.samples["label"][i]] == file.parent.name


def test_unlabelled(photos, tmp_path):
    index = pack(photos / "ant", tmp_path / "d", size=4)
    assert read_by_webdataset(index)[1] == [None] * 8
    assert set(index.samples["label"].tolist()) == {-1} and index.image.classes == 0 and index.class_names == ()


def test_jpeg_is_close_and_of_full_colour_resolution(tmp_path):
    y, x = np.mgrid[0:32, 0:32]
    image = np.stack([8 * x, 8 * y, 255 - 8 * x], -1).astype(np.uint8)
    image[:, ::2, 0] = 255 - image[:, ::2, 0]  # colour at the finest scale, which 4:2:0 would blur
    np.save(tmp_path / "a.npy", image[None])
    (found,) = read_by_index(pack(tmp_path / "a.npy", tmp_path / "d", size=32, image_format="jpeg"))
    assert np.abs(found.astype(int) - image).mean() < 3
    rough = pack(tmp_path / "a.npy", tmp_path / "rough", size=32, image_format="jpeg", quality=20)
    assert rough.samples["size"][0] < Index.open(tmp_path / "d").samples["size"][0]


def lanczos(size_in, size_out):
    """The weights [out, in] of an antialiased Lanczos-3 filter."""
    scale = size_in / size_out
    stretch = max(scale, 1)
    weights = np.zeros((size_out, size_in))
    for i in range(size_out):
        x = (np.arange(size_in) + 0.5 - (i + 0.5) * scale) / stretch
        weights[i] = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("size", [5, 12, 13, 31])
@pytest.mark.parametrize("shape", [(13, 22), (25, 13)])
def test_crop_and_resize_follow_the_formula(shape, size):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    top, left = (shape[0] - 13) // 2, (shape[1] - 13) // 2
    square = image[top : top + 13, left : left + 13].astype(float)
    weights = lanczos(13, size)
    across = np.einsum("ow,hwc->hoc", weights, square).round().clip(0, 255)  # PIL keeps bytes between the two passes
    expected = np.einsum("oh,hwc->owc", weights, across).round().clip(0, 255)
    assert np.abs(np.array(fit(Image.fromarray(image), size, 3)) - expected).max() <= 1


@pytest.mark.parametrize(
    ("mode", "expected"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("CMYK", 3)]
)
def test_channels_of_files(tmp_path, mode, expected):
    (tmp_path / "s").mkdir()
    for i in range(3):
        Image.new("RGB", (4, 4), (40 * i, 0, 9)).convert(mode).save(tmp_path / "s" / f"{i}.tif")
    assert pack(tmp_path / "s", tmp_path / "d", size=4).image.channels == expected
    for channels in (1, 3, 4):
        index = pack(tmp_path / "s", tmp_path / f"d{channels}", size=4, channels=channels)
        assert index.image.channels == channels and read_by_index(index)[0].shape == (4, 4, channels)


def test_arrays_keep_their_channels_and_alpha(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 4), np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    for image_format in ("png", "webp"):
        index = pack(tmp_path / "a.npy", tmp_path / image_format, size=4, image_format=image_format)
        assert sorted(map(bytes, read_by_index(index))) == sorted(map(bytes, pixels))
    with pytest.raises(UserError, match="JPEG has no fourth channel"):
        pack(tmp_path / "a.npy", tmp_path / "jpeg", size=4, image_format="jpeg")


def test_class_folders_come_out_shuffled_by_the_seed(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((200, 2, 2), np.uint8), labels=np.repeat([0, 1], 100))
    first, second = (pack(tmp_path / "a.npz", tmp_path / str(s), size=2, seed=s).samples["label"] for s in (0, 1))
    for labels in (first, second):
        assert np.bincount(labels).tolist() == [100, 100]
        assert 70 < (np.diff(labels) != 0).sum() < 130  # sorted: 1; shuffled: 100 on average, 7 sigma either way is 50
    assert first.tolist() != second.tolist()


def test_packing_is_reproducible_byte_for_byte(photos, packed, tmp_path):
    pack(photos, tmp_path / "again", size=8, shard_samples=10)
    assert contents(tmp_path / "again") == contents(packed)
    assert set(contents(packed)) == {f"shard-00000{i}.tar" for i in range(3)} | {
        "index.json",
        "samples.npy",
        "origin.npy",
    }


def test_a_finished_pack_is_left_as_it_is(photos, packed):
    before = {path: path.stat().st_mtime_ns for path in packed.iterdir()}
    assert pack(photos, packed, size=8, shard_samples=10).fingerprint == Index.open(packed).fingerprint
    assert {path: path.stat().st_mtime_ns for path in packed.iterdir()} == before


def test_other_arguments_are_named_with_both_values(photos, packed):
    with pytest.raises(UserError, match=r"other arguments: size 8 there, 4 here; seed 0 there, 3 here; choose another"):
        pack(photos, packed, size=4, shard_samples=10, seed=3)
    (packed / "index.json").rename(packed / "pack.json")
    (packed / "pack.json").write_text(json.dumps(json.loads((packed / "pack.json").read_text())["pack"]))
    with pytest.raises(UserError, match="image_format 'png' there, 'webp' here; choose another folder or delete"):
        pack(photos, packed, size=8, shard_samples=10, image_format="webp")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "many.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), np.uint8))
    return path


@pytest.mark.slow
def test_kill_9_and_resume_give_the_bytes_of_an_undisturbed_pack(many, tmp_path):
    pack(many, tmp_path / "whole", size=128, shard_samples=25)
    dest = tmp_path / "killed"
    for shards in (2, 6):
        arguments = f"{str(many)!r}, Path({str(dest)!r}), size=128, shard_samples=25"
        command = f"from pathlib import Path; from ganlab.data.make.pack import pack; pack({arguments})"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen([sys.executable, "-c", command], env=environment)
        deadline = time.monotonic() + 300
        while not (dest / f"shard-{shards:06d}.tar.tmp").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        with pytest.raises(UserError, match=r"shards without index\.json"):
            Index.open(dest)
        kept = {path: path.stat().st_mtime_ns for path in dest.glob("*.tar")}
        assert shards <= len(kept) <= 11
    pack(many, dest, size=128, shard_samples=25)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(dest) == contents(tmp_path / "whole")


def interrupted(photos, dest, image_format="png"):
    """Leave `dest` as a kill after the second shard would."""
    index = pack(photos, dest, size=8, shard_samples=10, image_format=image_format)
    order = np.random.Generator(np.random.PCG64(0)).permutation(24)
    facts = open_source(photos).facts()
    states = [facts.of(chosen) for chosen in (order[:10], order[10:20], order[20:])]
    (dest / "pack.json").write_text(json.dumps({**index.pack, "states": states}))
    for name in ("index.json", "samples.npy", "origin.npy", "shard-000002.tar"):
        (dest / name).unlink()


def test_a_shard_of_other_samples_is_not_kept(photos, tmp_path):
    interrupted(photos, tmp_path / "d")
    (tmp_path / "d" / "shard-000001.tar").write_bytes((tmp_path / "d" / "shard-000000.tar").read_bytes())
    with pytest.raises(UserError, match=r"shard-000001\.tar: does not hold samples 000000010 to 000000019"):
        pack(photos, tmp_path / "d", size=8, shard_samples=10)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_leaves_whole_shards_and_no_litter(photos, packed, tmp_path):
    interrupted(photos, tmp_path / "d")
    (tmp_path / "d" / "shard-000002.tar.tmp").symlink_to("/dev/full")
    with pytest.raises(
        UserError, match=r"d: cannot be written \(No space left on device\); make room .* whole shards are"
    ):
        pack(photos, tmp_path / "d", size=8, shard_samples=10)
    assert set(contents(tmp_path / "d")) == {"pack.json", "shard-000000.tar", "shard-000001.tar"}
    pack(photos, tmp_path / "d", size=8, shard_samples=10)
    assert contents(tmp_path / "d") == contents(packed)


def test_a_broken_image_is_named_and_leaves_nothing_half(tmp_path):
    (tmp_path / "s").mkdir()
    for i in range(200):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "s" / f"{i:03d}.png")
    whole = (tmp_path / "s" / "101.png").read_bytes()
    (tmp_path / "s" / "101.png").write_bytes(whole[:45])
    with pytest.raises(UserError, match=r"s/101\.png: cannot be decoded"):
        pack(tmp_path / "s", tmp_path / "d", size=4, shard_samples=20)
    assert not any(name.endswith((".tmp", "index.json")) for name in contents(tmp_path / "d"))
    (tmp_path / "s" / "101.png").write_bytes(whole)
    assert len(pack(tmp_path / "s", tmp_path / "d", size=4, shard_samples=20)) == 200


def test_a_folder_with_other_files_is_refused_and_left_alone(photos, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match=r"holds other files \(thesis\.tex\); choose a new or empty folder"):
        pack(photos, tmp_path, size=8)
    assert set(contents(tmp_path)) == {"thesis.tex"}


def test_a_place_that_cannot_be_written(photos, tmp_path):
    (tmp_path / "file").write_text("x")
    for dest in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"cannot be written \((File exists|Not a directory)\)"):
            pack(photos, dest, size=8)


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"workers": 0}, {"shard_samples": 0}, {"quality": 101}, {"channels": 2}, {"seed": -1}]
)
def test_arguments_out_of_range(photos, tmp_path, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=f"{name} {value}.*: give "):
        pack(photos, tmp_path / "d", **{"size": 8, **wrong})
    assert not (tmp_path / "d").exists()


@pytest.mark.slow
def test_fashion_mnist_survives_whole(shared, tmp_path):
    path = shared / "fashion_mnist" / "t10k-images-idx3-ubyte.gz"
    expected = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)[16:].reshape(10_000, 28, 28, 1)
    index = pack(path, tmp_path / "d", size=28)
    order = np.random.Generator(np.random.PCG64(0)).permutation(10_000)
    assert (np.stack(read_by_index(index)) == expected[order]).all()
    assert [shard.samples for shard in index.shards] == [4096, 4096, 1808]
