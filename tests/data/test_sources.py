import gzip
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made import arrays, encoded, idx, png_bomb
from PIL import Image

from ganlab.data.make.pack import pack
from ganlab.data.make.sources import open_source
from ganlab.types import UserError


def folder_of(root, names, pixels):
    for name, image in zip(names, pixels, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / name)
    return root


def zip_of(path, names, pixels, dataset=None):
    with zipfile.ZipFile(path, "w") as archive:
        for name, image in zip(names, pixels, strict=False):
            archive.writestr(name, encoded(image))
        if dataset is not None:
            archive.writestr("dataset.json", dataset)
    return path


def test_folder_with_classes(tmp_path, pixels):
    names = ["dog/b.png", "ant/z/9.PNG", "dog/a.bmp", "ant/1.tif"]
    source = open_source(folder_of(tmp_path / "pets", names, pixels))
    (tmp_path / "pets" / "ant" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / "ant" / "._1.tif").write_bytes(b"no image either")
    source = open_source(tmp_path / "pets")
    assert source.name == "pets" and source.class_names == ("ant", "dog") and source.labels.tolist() == [0, 0, 1, 1]
    assert [source.describe(i).removeprefix(f"{tmp_path}/pets/") for i in range(4)] == sorted(names)
    for found, expected in zip(arrays(source), [pixels[3], pixels[1], pixels[2], pixels[0]], strict=True):
        assert (found == expected).all()


def test_flat_folder_has_no_labels(tmp_path, pixels):
    source = open_source(folder_of(tmp_path, ["b.png", "a.png"], pixels))
    assert source.labels is None and source.class_names == ()
    assert (arrays(source)[0] == pixels[1]).all()


def test_a_mixed_folder_is_refused(tmp_path, pixels):
    folder_of(tmp_path, ["b/1.png", "loose.png"], pixels)
    with pytest.raises(UserError, match=r"1 of 2 images \(loose\.png, \.\.\.\) lie outside the sub-folders"):
        open_source(tmp_path)


@pytest.mark.parametrize("form", [list, dict])
def test_zip_with_labels(tmp_path, pixels, form):
    names = ["x/1.png", "x/0.png", "y.png"]
    labels = [["y.png", 2], ["x/0.png", 0], ["x/1.png", 1]]
    path = zip_of(tmp_path / "a.zip", names, pixels, json.dumps({"labels": form(labels)}))
    source = open_source(path)
    assert source.labels.tolist() == [0, 1, 2] and source.class_names == ("0", "1", "2")
    assert source.describe(0) == f"{path}/x/0.png"
    for found, expected in zip(arrays(source), pixels[[1, 0, 2]], strict=True):
        assert (found == expected).all()


@pytest.mark.parametrize("dataset", [None, '{"labels": null}'])
def test_zip_without_labels(tmp_path, pixels, dataset):
    source = open_source(zip_of(tmp_path / "a.zip", ["x/1.png", "__MACOSX/x/._1.png"], pixels, dataset))
    assert len(source) == 1 and source.labels is None


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ('{"labels": [["0.png", 1]]}', "dataset.json: 1.png has no class in it"),
        ('{"labels": [["0.png", 1], ["1.png", -1]]}', "label -1; give classes as whole numbers from 0"),
        ('{"labels": [["0.png", 1], ["1.png", [0.5]]]}', r"label \[0.5\]; give classes"),
        ('{"labels": 3}', "not a readable list of labels"),
        ("{}", "not a readable list of labels; its dataset.json is"),
        ("{", "not a readable list of labels"),
    ],
)
def test_zip_labels_that_do_not_fit(tmp_path, pixels, dataset, message):
    path = zip_of(tmp_path / "a.zip", ["0.png", "1.png"], pixels, dataset)
    with pytest.raises(UserError, match=message) as error:
        open_source(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("labelled", [False, True])
def test_idx(tmp_path, pixels, suffix, labelled):
    write = gzip.compress if suffix else bytes
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(write(idx(pixels[..., 0])))
    if labelled:
        labels = np.array([3, 1, 4, 1, 5, 9], np.uint8)
        (tmp_path / f"train-labels-idx1-ubyte{suffix}").write_bytes(write(idx(labels)))
    source = open_source(path)
    assert source.channels == 1 and (np.stack(arrays(source)) == pixels[..., 0]).all()
    assert (source.labels.tolist() if labelled else source.labels) == ([3, 1, 4, 1, 5, 9] if labelled else None)
    assert len(source.class_names) == (10 if labelled else 0)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (lambda data: data[:-1], None, "images-idx3-ubyte: not a whole idx file of 3 dimensions"),
        (lambda data: data + b"x", None, "images-idx3-ubyte: not a whole idx file of 3 dimensions"),
        (lambda data: data[:7], None, "images-idx3-ubyte: not a whole idx file of 3 dimensions"),
        (lambda data: b"\x00\x00\x0d\x03" + data[4:], None, "begins with 0x00000d03 instead of 0x00000803"),
        (lambda data: data, idx(np.zeros(5, np.uint8)), "labels-idx1-ubyte: 5 labels for 6 images"),
        (lambda data: data, b"", "labels-idx1-ubyte: not a whole idx file of 1 dim"),
    ],
)
def test_damaged_idx(tmp_path, pixels, images, labels, message):
    (tmp_path / "images-idx3-ubyte").write_bytes(images(idx(pixels[..., 0])))
    if labels is not None:
        (tmp_path / "labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(UserError, match=message):
        open_source(tmp_path / "images-idx3-ubyte")


def test_truncated_gzip(tmp_path, pixels):
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(pixels[..., 0]))[:-20])
    with pytest.raises(UserError, match="not a whole idx file"):
        open_source(path)


@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_npy(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, channels) if channels else (3, 5, 4), np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    source = open_source(tmp_path / "a.npy")
    assert source.channels == (channels or 1) and source.labels is None
    assert (np.stack(arrays(source)).reshape(pixels.shape) == pixels).all()
    assert source.describe(2) == f"{tmp_path}/a.npy, image 2"


def test_npz(tmp_path, pixels):
    labels = np.array([0, 1, 1, 0, 2, 0])
    np.savez(tmp_path / "a.npz", images=pixels, labels=labels, class_names=["x", "y", "z", "unused"])
    source = open_source(tmp_path / "a.npz")
    assert source.labels.tolist() == labels.tolist() and source.class_names == ("x", "y", "z", "unused")
    assert (np.stack(arrays(source)) == pixels).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": np.zeros((2, 3, 3), np.float32)}, r"images are float32 \[2, 3, 3\]; expected uint8"),
        ({"images": np.zeros((2, 3, 8, 8), np.uint8)}, r"images are uint8 \[2, 3, 8, 8\]; expected uint8 \[n, height"),
        ({"images": np.zeros((2, 3), np.uint8)}, r"expected uint8 \[n, height, width\]"),
        ({"pictures": np.zeros((2, 3, 3), np.uint8)}, "holds pictures; name the images' array `images`"),
        ({"images": np.array([object()])}, "not a readable array .*pickle"),
        ({"images": np.zeros((2, 3, 3), np.uint8), "labels": np.zeros(3, int)}, "3 labels for 2 images"),
        ({"images": np.zeros((2, 3, 3), np.uint8), "labels": np.zeros(2)}, "label 0.0; give classes as whole"),
        (
            {"images": np.zeros((2, 3, 3), np.uint8), "labels": np.array([0, 1]), "class_names": ["x"]},
            "1 class_names, but a label 1",
        ),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, content, message):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(UserError, match=message):
        open_source(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "member", "message"),
    [
        ("a.zip", "dataset.json", "not a readable zip"),
        ("a.zip", "of unknown kind", "not a readable zip"),
        ("lzma.zip", "of unknown kind", "not a readable zip"),
        ("a.npz", "images.npy", "not a readable array"),
    ],
)
def test_a_damaged_stream_in_an_archive(tmp_path, pixels, name, member, message):
    path = tmp_path / name
    if name == "a.npz":
        np.savez_compressed(path, images=np.zeros((9, 8, 8), np.uint8))
    else:
        kind = zipfile.ZIP_LZMA if name == "lzma.zip" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("dataset.json", '{"labels": [["0.png", 0], ["of unknown kind", 1]]}')
            archive.writestr("0.png", encoded(pixels[0]))
            archive.writestr("of unknown kind", encoded(pixels[1]))
    with zipfile.ZipFile(path) as archive:
        archive.fp.seek(archive.getinfo(member).header_offset + 26)
        start = archive.fp.tell() + 4 + sum(struct.unpack("<HH", archive.fp.read(4)))  # name and extra field
    data = bytearray(path.read_bytes())
    data[start + 4 : start + 10] = b"\xff" * 6  # behind the sizes of LZMA's own header
    path.write_bytes(data)
    with pytest.raises(UserError, match=message):
        open_source(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "no such file or folder; give a folder of images"),
        ("a.rar", "not a source of images; give a folder of images .*; a .zip .*idx3-ubyte.*; a .npy"),
        ("a.zip", "not a readable zip"),
        ("a.npy", "not a readable array"),
        ("a.npz", "not a readable array"),
        ("empty", "holds no images"),
        ("a-{0..9.tar", r"Unbalanced braces: .*; write a range as \{000\.\.009\} and a list as \{a,b\}"),
    ],
)
def test_what_is_no_source(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    for file in ("a.rar", "a.zip", "a.npy", "a.npz"):
        (tmp_path / file).write_bytes(b"nonsense")
    with pytest.raises(UserError, match=message):
        open_source(tmp_path / name)


def test_a_url_is_to_be_downloaded_first():
    with pytest.raises(UserError, match=r"https:/.*/photos.zip: a URL, and `data pack` reads files; download it first"):
        open_source(Path("https://127.0.0.1:1/photos.zip"))


NOISE = encoded(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (png_bomb(50_000), "2500000000 pixels"),
        (b"nonsense", "cannot identify"),
        (NOISE[:300], "truncated|incomplete|broken"),
    ],
)
def test_a_hostile_or_broken_image_is_named(tmp_path, pixels, data, cause):
    folder_of(tmp_path / "s", ["a.png"], pixels)
    (tmp_path / "s" / "b.png").write_bytes(data)
    source = open_source(tmp_path / "s")
    source.image(0)
    with pytest.raises(UserError, match=rf"s/b\.png: cannot be decoded \(.*({cause}).*\); mend or remove it"):
        source.image(1)


def test_a_camera_held_upright(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x112] = 6  # turned by a quarter
    Image.fromarray(pixels[0]).save(tmp_path / "a.png", exif=exif)
    assert (arrays(open_source(tmp_path))[0] == np.rot90(pixels[0], -1)).all()


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 255, 256, 32768, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert arrays(open_source(tmp_path))[0].tolist() == [[0, 0, 1, 128, 255]]


def test_32_bit_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: cannot be decoded \(32-bit pixels\)"):
        open_source(tmp_path).image(0)


@pytest.mark.slow
def test_real_sources(shared, tmp_path):
    fashion = open_source(shared / "fashion_mnist" / "t10k-images-idx3-ubyte.gz")
    assert len(fashion) == 10_000 and np.bincount(fashion.labels).tolist() == [1000] * 10
    cifar = open_source(shared / "cifar10" / "cifar10-test.zip")
    assert len(cifar) == 9_966 and len(cifar.class_names) == 10 and cifar.image(5).size == (32, 32)
    signs = pack(shared / "sign_digits" / "sign_digits.zip", tmp_path / "signs", size=16)
    assert len(signs) == 2_062 and (signs.image.channels, signs.image.classes) == (3, 10)
    assert signs.samples["label"].min() == 0 and len(set(signs.samples["label"][:100].tolist())) == 10
