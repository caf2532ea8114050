"""Shards that other programs wrote."""

import io
import json
import tarfile

import numpy as np
import pytest
import tiny_runs as runs
import webdataset
from made import encoded, write_tar
from PIL import Image

from ganlab.data import ShardDataset
from ganlab.data.format.decode import fit
from ganlab.data.make.foreign import index
from ganlab.types import ImageSpec, UserError

SIZES = [(40, 60), (33, 20), (16, 16), (90, 31), (8, 9), (200, 150)]


def smooth(height, width, seed):
    """Blurred noise: unlike noise itself, it looks alike however it is shrunk."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def written(tmp_path):
    """Twelve images of six sizes, PNG and JPEG, in two tars of webdataset's own writer; and those files."""
    files = []
    folder = tmp_path / "theirs"
    folder.mkdir()
    with webdataset.ShardWriter(f"{folder}/part-%02d.tar", maxcount=6, verbose=0) as writer:
        for i in range(12):
            pixels = smooth(*SIZES[i % 6], i)
            suffix, data = ("jpeg", encoded(pixels, "jpeg", quality=98)) if i % 2 else ("png", encoded(pixels))
            files.append(data)
            about = {"species": ["cat", "ant", "bee"][i % 3], "number": i}
            sample = {"__key__": f"a/{i:03d}", suffix: data, "json": json.dumps(about).encode()}
            writer.write(sample | ({"cls": str(i % 4).encode()} if i != 7 else {}))
    return folder, files


def read_all(dataset):
    out = np.empty((len(dataset), 16, 16, 3), np.uint8)
    return [dataset.read(i, pixels) for i, pixels in enumerate(out)], out


def assert_alike(found, files):
    """PNG exactly as PIL decodes it and then resizes; a JPEG first shrunk by eighths, so only nearly."""
    for i, (ours, file) in enumerate(zip(found, files, strict=True)):
        expected = np.array(fit(Image.open(io.BytesIO(file)), 16, 3)).astype(int)
        error = np.abs(ours - expected)
        assert (error.max() == 0) if i % 2 == 0 else (error.mean() < 3)


def test_images_of_any_size_are_cropped_and_resized(written):
    folder, files = written
    found = index(str(folder), size=16)
    assert found.image == ImageSpec(16, 16, 3, 4) and found.class_names == ("0", "1", "2", "3")
    dataset = ShardDataset(folder)
    labels, pixels = read_all(dataset)
    assert labels == [-1 if i == 7 else i % 4 for i in range(12)]
    assert_alike(pixels, files)
    with pytest.raises(UserError, match=r"has an index\.json; delete it"):
        index(str(folder), size=32)


@pytest.mark.parametrize("crop", ["center", "fit"])
def test_the_crop_of_an_index_is_that_of_a_pack(written, tmp_path, crop):
    folder, files = written
    found = index(str(folder), tmp_path / "out", size=(24, 16), crop=crop)
    other = index(str(folder), tmp_path / "other", size=(24, 16), crop="fit" if crop == "center" else "center")
    assert found.fingerprint != other.fingerprint
    assert found.image == ImageSpec(24, 16, 3, 4) and found.crop == crop
    dataset, out = ShardDataset(tmp_path / "out"), np.empty((24, 16, 3), np.uint8)
    for i in range(0, 12, 2):  # the PNGs; a JPEG is first shrunk by eighths
        dataset.read(i, out)
        assert (out == np.array(fit(Image.open(io.BytesIO(files[i])), (24, 16), 3, crop))).all()


def test_an_index_without_a_crop_names_all_that_it_refuses(written, tmp_path):
    folder, files = written
    with pytest.raises(UserError, match=r"write --crop center .* or --crop fit") as error:
        index(str(folder), tmp_path / "out", size=16, crop="none")
    wide = sum(len(set(Image.open(io.BytesIO(data)).size)) > 1 for data in files)
    assert str(error.value).count("pixels are of another shape than 16x16") == wide > 0
    assert not (tmp_path / "out").exists()


def test_an_index_elsewhere_says_where_the_shards_are(written, tmp_path):
    folder, files = written
    index(f"{folder}/part-{{00..01}}.tar", tmp_path / "index", size=16, labels="species")
    dataset = ShardDataset(tmp_path / "index")
    assert dataset.index.class_names == ("ant", "bee", "cat")
    labels, pixels = read_all(dataset)
    assert labels == [[2, 0, 1][i % 3] for i in range(12)]
    assert_alike(pixels, files)
    assert not (folder / "index.json").exists()
    numbered = index(str(folder), tmp_path / "numbers", size=16, labels="number")
    assert numbered.image.classes == 12 and numbered.samples["label"].tolist() == list(range(12))


def test_checksums_are_those_of_the_bytes(written, flip):
    folder, _ = written
    found = index(str(folder), size=16)
    offset, size, _, _ = found.samples[3].tolist()
    flip(folder / "part-00.tar", offset + size // 2)
    dataset = ShardDataset(folder)
    with pytest.raises(UserError, match=r"part-00\.tar: a/003\.jpeg at byte .* its crc32 is"):
        dataset.read(3, np.empty((16, 16, 3), np.uint8))


@pytest.mark.slow
def test_a_conditional_model_needs_a_class_for_every_sample(written, tmp_path):
    folder, _ = written
    index(str(folder), size=16)
    config = runs.write_config(tmp_path, folder)
    for verb in ("train", "show"):
        said = runs.refused(verb, config, f"run={tmp_path / 'run'}")
        assert "1 of 12 samples have no class, but the model is conditional" in said
    assert not (tmp_path / "run").exists()
    assert "12 images" in runs.ganlab("show", config, "model.conditional=false").output.replace("of them", "images")


PNG = encoded(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("0.png", PNG), ("0.jpg", b"x")], "member 0.jpg: a second image for key 0"),
        ([("0.png", PNG), ("0.cls", b"1"), ("0.cls", b"1")], "a second class for key 0"),
        ([("0.png", PNG), ("0.cls", b"c\nt")], r"b'c\\nt' where one class"),
        (
            [("0.png", PNG), ("1.png", b"", {"type": tarfile.LNKTYPE, "linkname": "0.png"})],
            "member 1.png: not an ordinary file",
        ),
        ([("/0.png", PNG)], "member /0.png: not an ordinary file"),
        ([("0.txt", b"hello")], "shards without an image"),
    ],
)
def test_what_is_no_dataset_is_refused(tmp_path, members, message):
    write_tar(tmp_path / "a.tar", *members)
    with pytest.raises(UserError, match=message):
        index(str(tmp_path), size=8)
    assert not (tmp_path / "index.json").exists()


def test_mistakes_are_explained(tmp_path, written):
    folder, _ = written
    for url, options, message in [
        (str(tmp_path), {}, r"no shards \(\*\.tar\)"),
        (f"{tmp_path}/no.tar", {}, r"no\.tar: No such file or directory"),
        ("http://127.0.0.1:1/x", {}, r"name a folder for the index with --out FOLDER"),
        ("http://127.0.0.1:1/x", {"out": tmp_path / "o"}, r"does not list its files; name the shards"),
        (str(folder), {"labels": "species", "out": tmp_path / "file" / "o"}, "Not a directory"),
    ]:
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match=message):
            index(url, size=8, **options)
    write_tar(tmp_path / "a.tar", ("0.png", PNG), ("0.json", b'{"c": 1.5}'))
    write_tar(tmp_path / "b.tar", ("0.png", PNG), ("0.json", b'{"c": "x"}'), ("1.png", PNG), ("1.json", b'{"c": 3}'))
    for name, message in [("a", r"c is 1\.5, no class"), ("b", "some classes are numbers, others names")]:
        with pytest.raises(UserError, match=message):
            index(f"{tmp_path}/{name}.tar", tmp_path / "o", size=8, labels="c")


def test_folders_and_empty_images_in_a_tar(tmp_path):
    """`tar` writes an entry for the folder; an image of no bytes is a bad sample, not a bad dataset."""
    write_tar(tmp_path / "a.tar", ("./", b"", {"type": tarfile.DIRTYPE}), ("./0.png", PNG), ("./1.png", b""))
    index(str(tmp_path), size=4)
    dataset, out = ShardDataset(tmp_path), np.full((4, 4, 3), 9, np.uint8)
    assert dataset.read(0, out) == -1 and not out.any()
    with pytest.raises(UserError, match=r"a\.tar: \./1\.png at byte \d+,?\d*: cannot be decoded"):
        dataset.read(1, out)


def test_the_command(written):
    folder, _ = written
    said = runs.ganlab("data", "index", folder, "--size", 16)
    assert (
        said.exit_code == 0 and "12 images of 16x16, 3 channels, 4 classes; shards: 2; 1 without a class" in said.output
    )
