"""What people bring as data: odd files, labels, archives. Each is packed, or named with what to do instead.

A circumstance is a few files, commands, their exit codes, and words that must be said; no command ends in a traceback.
"""

import gzip
import math
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brought import (
    GIF,
    JPEG,
    OTHER,
    PNG,
    TWO,
    check,
    encoded,
    flagged,
    idx,
    listed,
    noise,
    npy,
    npz,
    palette,
    sideways,
    swapped,
    tar,
    write,
    zipped,
)
from PIL import Image

from ganlab.data import ShardDataset

Members = Iterable[tuple[str, bytes]]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


# --- the same files in a folder, a zip and a tar, packed and indexed

TIFF = encoded(noise(), "TIFF")
CONTENTS: dict[str, tuple[Members, int, tuple[str, ...]]] = {
    "dots in names": ([("photo.1.jpg", JPEG), ("photo.2.jpg", JPEG), ("plain.JPG", JPEG)], 3, ()),
    "an archive among images": ([("a.png", PNG), ("backup.tar", b"x"), ("old.zip", b"x")], 1, ("2 (an archive in it",)),
    "classes": ([("cat/a.png", PNG), ("dog/b.PNG", PNG)], 2, ("2 classes", "the names of the sub-folders (cat, dog)")),
    "wrapped": ([("p/cat/a.png", PNG), ("p/dog/b.png", PNG), ("p/dog/notes.md", b"")], 2, ("left out: 1",)),
    "a folder like a file": ([("cat.png/a.png", PNG), ("dog.jpg/b.png", PNG)], 2, ("2 classes",)),
    "hidden": ([("a.png", PNG), ("._a.png", b"\0\5"), (".git/b.png", PNG)], 1, ("(hidden)", "._a.png")),
    "macOS": ([("a.png", PNG), ("__MACOSX/._a.png", b"\0\5")], 1, ("(hidden)",)),
    "other formats": ([("a.tif", TIFF), ("b.gif", GIF), ("c.png", PNG)], 3, ("the first is taken",)),
    "not read": ([("a.png", PNG), ("b.svg", b"<svg/>"), ("c.cr2", b"x")], 1, (".svg", ".cr2", "convert it")),
    "not images": ([("a.png", PNG), ("labels.csv", b"a.png,cat"), ("Thumbs.db", b"x")], 1, ("labels.csv", "Thumbs.db")),
    "odd names": ([("a\nb.png", PNG), ("日本é.png", PNG), ("l" * 200 + ".png", PNG), ("#=' .png", PNG)], 4, ()),
    "a newline left out": ([("a.png", PNG), ("b\nc\x1b.txt", b"")], 1, (r"b\nc\x1b.txt",)),
    "names alike": ([("Cat/a.png", PNG), ("cat/b.png", PNG)], 2, ("note: classes whose names differ", "Cat, cat")),
    "content tells": ([("a.jpg", PNG), ("b.data", PNG), ("c", PNG)], 3, ()),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_folder_a_zip_and_a_tar_of_the_same_files_are_the_same(name):
    members, count, said = CONTENTS[name]
    write(dict(members), "folder")
    write({"z.zip": zipped(*members), "t.tar": tar(*members)})
    for source in ("folder", "z.zip", "t.tar"):
        found = check(f"data pack {source} packed-{source} --size 8", 0, *said)
        assert f": {count} images of 8x8" in found
    assert f"{count} images of 8x8" in check("data index t.tar --out index --size 8", 0, *said)
    for dataset in ("packed-folder", "index"):
        check(f"data show {dataset}", 0, *(words for words in said if "classes" not in words))


# --- what a picture looks like, packed and indexed


FRAMES = [Image.new("RGB", (12, 12), (250 * i, 0, 99)) for i in range(2)]
PIXELS: dict[str, tuple[str, bytes, tuple[int, int, int]]] = {
    "16 bits": ("a.png", encoded(Image.fromarray(np.full((12, 12), 40_000, np.uint16))), (156, 156, 156)),
    "16 bits, TIFF": ("a.tif", encoded(Image.fromarray(np.full((12, 12), 40_000, np.uint16)), "TIFF"), (156, 156, 156)),
    "CMYK": ("a.jpg", encoded(Image.new("CMYK", (12, 12), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
    "palette": ("a.png", palette(), (255, 0, 0)),
    "transparent grey": ("a.png", encoded(Image.new("LA", (12, 12), (100, 0))), (100, 100, 100)),
    "1 bit": ("a.png", encoded(Image.new("1", (12, 12), 1)), (255, 255, 255)),
    "frames": (
        *("a.webp", encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:], lossless=True)),
        (0, 0, 99),
    ),
    "profile": ("a.png", encoded(Image.new("RGB", (12, 12), (255, 0, 0)), icc_profile=swapped()), (0, 0, 255)),
    "a broken profile": ("a.png", encoded(Image.new("RGB", (12, 12), (255, 0, 0)), icc_profile=b"x"), (255, 0, 0)),
    "EXIF": ("a.png", sideways(), (0, 0, 255)),
    "1x1": ("a.png", encoded(Image.new("RGB", (1, 1), (1, 2, 3))), (1, 2, 3)),
    "30000x1": ("a.png", encoded(Image.new("RGB", (30_000, 1), (1, 2, 3))), (1, 2, 3)),
}


@pytest.mark.parametrize("name", PIXELS)
def test_a_picture_is_packed_and_indexed_as_viewers_show_it(name):
    file, data, colour = PIXELS[name]
    write({"a.tar": tar((file, data))})
    check("data pack a.tar packed --size 8 --channels 3", 0)
    check("data index a.tar --out index --size 8", 0)
    for dataset in ("packed", "index"):
        out = np.empty((8, 8, 3), np.uint8)
        ShardDataset(dataset).read(0, out)
        assert np.abs(out[1, 4].astype(int) - colour).max() <= 3, dataset


# --- sources with their faults: files, a command, its exit code, and what is said

NO_LIST = "not a readable list of labels"
BROKEN = {"c.png": b"", "d.jpg": encoded(noise(64, 64), "JPEG")[:900], "e.jpg": b"<html>404</html>"}
MANY = {f"{i}.png": PNG for i in range(14)}
LINK, HARD = {"type": tarfile.SYMTYPE, "linkname": "a.png"}, {"type": tarfile.LNKTYPE, "linkname": "a.png"}
DEEP = Image.fromarray(np.full((12, 12), 0.5, np.float32))
WIDE = encoded(noise(8, 12))

SOURCES: dict[str, tuple[dict[str, bytes], tuple[Any, ...], ...]] = {
    "broken files": (
        {f"s/{name}": data for name, data in (MANY | BROKEN).items()},
        ("data pack s d --size 8", 2, "3 of 17", "c.png", "d.jpg", "e.jpg", "--skip-bad"),
        ("data pack s e --size 8 --skip-bad", 0, ": 14 images", "left out: 3 (cannot be packed)"),
        ("evaluate s s --metrics swd", 2, "3 of 17", "c.png", "d.jpg", "e.jpg", "--skip-bad"),
    ),
    "broken in a tar": (
        {"a.tar": tar(("a.png", PNG), ("b.png", b""), ("c.tif", encoded(DEEP, "TIFF")))},
        ("data pack a.tar d --size 8", 2, "2 of 3", "an empty file", "32-bit pixels"),
        ("data index a.tar --out i --size 8", 0, "bad samples", "a.tar/b.png", "a.tar/c.tif"),
        ("data show i", 0, "of 1 images", "b.png"),
        ("data check i", 1, "2 problems"),
    ),
    "another shape": (
        {"a.tar": tar(("a.png", PNG), ("b.png", WIDE), ("c.png", WIDE))},
        ("data pack a.tar d --size 8 --crop none", 2, "2 of 3", "b.png", "c.png", "--crop fit"),
        ("data index a.tar --out i --size 8 --crop none", 2, "2 images", "a.tar/b.png", "a.tar/c.png", "--crop center"),
        ("data index a.tar --out i --size 8 --crop fit", 0),
        ("data check i", 0, "no problems"),
    ),
    "sizes that differ": (
        {f"s/{name}": data for name, data in (MANY | {"b.png": WIDE, "c.png": WIDE}).items()},
        ("evaluate s s --metrics swd", 2, "2 of 16", "s/b.png: 8x12", "s/c.png", "data pack"),
    ),
    "a size that nobody could read": (
        {"s/a.png": PNG, "a.tar": tar(("a.png", PNG))},
        ("data pack s d --size 99999", 2, "size 99999: more than 50,000,000 pixels"),
        ("data index a.tar --out i --size 8x9999999", 2, "size 8x9999999: more than 50,000,000 pixels"),
    ),
    "a sheet that is no PNG": (
        {"s/a.png": PNG},
        ("data pack s d --size 8", 0),
        ("data check d --contact-sheet d/sheet.jpg", 2, "sheet.jpg: pictures are written as PNG; name it d/sheet.png"),
    ),
    "a folder in itself": (
        {"s/a.png": PNG, "s/b.png": PNG},
        ("data pack s s/packed --size 8", 0),
        ("data check s/packed", 0),
        ("data pack s s/packed --size 8", 0, "already packed, 2 images"),
        ("data pack s s --size 8", 2, "holds other files"),
    ),
    "an empty class": (
        {"s/cat/a.png": PNG, "s/bird/x.txt": b""},
        ("data pack s d --size 8", 0, "a sub-folder without an image: no class): bird"),
    ),
    "some in no class": ({"s/cat/a.png": PNG, "s/b.png": PNG}, ("data pack s d --size 8", 2, "b.png", "--labels none")),
    "no images": (
        {"s/a.txt": b"x", "n.tar": tar(("a.txt", b"x"))},
        ("data pack s d --size 8", 2, "holds no images", "a.txt"),
        ("data pack n.tar d --size 8", 2, "holds no images", "a.txt"),
        ("data index n.tar --size 8", 2, "without an image", "a.txt"),
        ("evaluate s s --metrics swd", 2, "holds no images"),
    ),
    "nothing there": (
        TWO,
        ("data pack gone d --size 8", 2, "gone: no such file"),
        ("data pack a.png d --size 8", 2, "a.png: one image; give the folder"),
        ("data pack a.png a.png --size 8", 2, "one image"),
        *((f"data {verb} gone", 2, "gone: no such folder") for verb in ("show", "check", "bench")),
        ("data index gone --size 8", 2, "gone: no shards"),
        ("evaluate gone gone --metrics swd", 2, "gone: no such file"),
        ("sample gone", 2, "gone: holds no checkpoint"),
    ),
    "not a folder to write to": (
        {"s/a.png": PNG, "file": b""},
        ("data pack s file --size 8", 2, "file: cannot be written"),
        ("data pack s file/d --size 8", 2, "file/d: cannot be written"),
        (f"data pack s {'y' * 300} --size 8", 2, "File name too long"),
    ),
    "home": (
        {f"home/s/{name}": data for name, data in TWO.items()},
        ("data pack ~/s ~/d --size 8", 0),
        *((f"data {verb} ~/d", 0) for verb in ("show", "check")),
        ("data index ~/d --out ~/i --size 8", 0),
        ("data pack ~/s d --size 8 --with ~/s", 0, "16x8"),
    ),
    # labels
    **{
        f"dataset.json {text[:60]!r}": (
            {f"s/{name}": data for name, data in (TWO | {"dataset.json": text}).items()}
            | {"z.zip": zipped(*TWO.items(), ("dataset.json", text))},
            ("data pack s d --size 8", code, *said),
            ("data pack z.zip e --size 8", code, *said),
        )
        for text, code, *said in (
            (b"", 2, NO_LIST),
            (b"{", 2, NO_LIST),
            (b"[]", 2, NO_LIST),
            (b"[" * 100_000, 2, NO_LIST),
            (b"\xff\xfe{", 2, NO_LIST),
            (listed([], key="label"), 2, NO_LIST),
            *((listed(labels), 2, NO_LIST) for labels in (5, "ab", [["a.png"]], [{"a.png": 0}], [[["a.png"], 0]])),
            (listed([]), 2, "a.png has no class"),
            (listed([["a.png", 0]]), 2, "b.png has no class"),
            (listed([["a.png", 0], ["b.png", None]]), 2, "b.png has no class"),
            (listed([["a.png", 0], ["a.png", 1], ["b.png", 1]]), 2, "a.png has two classes, 0 and 1"),
            (listed([["a.png", math.nan], ["b.png", 1]]), 2, "label nan;"),
            *((listed([["a.png", bad], ["b.png", 1]]), 2, "label ", "or as names") for bad in (-1, 0.5, True, [0], {})),
            *((listed([["a.png", bad], ["b.png", "x"]]), 2, "label ") for bad in ("", "-1", "1.0", "x" * 101)),
            (listed([["a.png", "cat"], ["b.png", 1]]), 2, "some classes are numbers"),
            (listed(None), 0, "no labels"),
            (listed([["./a.png", "cat"], ["b.png", "cat\n"]]), 0, "1 classes"),
            (b"\xef\xbb\xbf" + listed({"a.png": 0, "b.png": 1}), 0, "2 classes"),
            (listed([["a.png", 0], ["b.png", 2]]), 0, "classes without an image: 1 (1)"),
            (listed([["a.png", 20240131], ["b.png", 7]]), 0, "identifiers", "2 classes"),
            (listed([["a.png", 0], ["b.png", 1], ["c.png", 5]]), 0, "labels of 1 that are not there"),
        )
    },
    "lists elsewhere": (
        {"s/a.png": PNG, "s/x/dataset.json": listed(None), "s/dataset.json": listed([["a.png", "cat"]]), "l.csv": b"a"},
        ("data pack s d --size 8", 2, "several lists of labels", "--labels"),
        ("data pack s d --size 8 --labels dataset.json", 0, "1 classes"),
        ("data pack s e --size 8 --labels l.csv", 2, NO_LIST),
        ("data pack s e --size 8 --labels gone.json", 2, "--labels gone.json"),
    ),
    "a zip of a folder": (
        {"z.zip": zipped(("p/a.png", PNG), ("p/b.png", PNG), ("p/dataset.json", listed([["a.png", 0], ["b.png", 1]])))},
        ("data pack z.zip d --size 8", 0, "2 classes"),
    ),
    **{
        f".cls {text!r}": (
            {"a.tar": tar(("0.png", PNG), ("0.cls", text), ("1.png", PNG), ("1.cls", b" 1\r\n"))},
            ("data pack a.tar d --size 8", code, *said),
            ("data index a.tar --out i --size 8", code, *said),
        )
        for text, code, *said in (
            (b"0\n", 0, "2 classes"),
            (b"\xef\xbb\xbf0", 0, "2 classes"),
            (b"99999999999999999999", 0, "identifiers"),
            *((bad, 2, "0.cls", "one class is expected") for bad in (b"", b"-1", b"1.5", b"\0\1", b"\xff", b"x" * 101)),
            ("²".encode(), 2, "some classes are numbers"),
        )
    },
    "a class alone": (
        {"a.tar": tar(("0.png", PNG), ("0.cls", b"cat"), ("1.cls", b"dog"))},
        ("data pack a.tar d --size 8", 0, "1 (a class without an image): 1.cls", "1 classes"),
        ("data index a.tar --out i --size 8", 0, "1 (a class without an image): 1.cls"),
    ),
    "a class missing": (
        {"a.tar": tar(("0.png", PNG), ("0.cls", b"0"), ("1.png", PNG))},
        ("data pack a.tar d --size 8", 0, "note: without a class: 1.png"),
        ("data index a.tar --out i --size 8", 0, "1 without a class"),
    ),
    "a field of .json": (
        {"a.tar": tar(("0.png", PNG), ("0.json", b'{"y": 1}')), "b.tar": tar(("0.png", PNG), ("0.json", b"no"))},
        ("data pack a.tar d --size 8 --labels y", 0, "2 classes"),
        ("data pack a.tar e --size 8 --labels x", 2, "no image has a .json with x"),
        ("data index a.tar --size 8 --labels x", 2, "no image has a .json with x"),
        ("data pack b.tar e --size 8 --labels y", 2, "0.json: not a JSON object"),
    ),
    # archives
    "a gzipped tar": (
        {name: tar(("0.png", PNG), mode="w:gz") for name in ("a.tar", "a.tgz")},
        *((f"data pack {name} d --size 8", 2, "compressed with gzip") for name in ("a.tar", "a.tgz")),
        ("data index a.tar --out i --size 8", 2, "compressed with gzip"),
    ),
    "a folder of shards from a Mac": (
        {"s/part-0.tar": tar(("0.png", PNG)), "s/._part-0.tar": b"\0\5\x16\7" + b"x" * 200},
        ("data pack s d --size 8", 0, ": 1 images"),
        ("data index s --size 8", 0, "1 images"),
    ),
    **{
        f"a tar with {name}": (
            {"a.tar": tar(("a.png", PNG), member)},
            *((f"data {verb} --size 8", 2, "not an ordinary file", remedy) for verb in ("pack a.tar d", "index a.tar")),
        )
        for name, member, remedy in (
            ("a link", ("b.png", b"", LINK), "tar -h"),
            ("a hard link", ("b.png", b"", HARD), "--hard-dereference"),
            ("a path upwards", ("../b.png", PNG), "tar -C FOLDER"),
            ("an absolute path", ("/tmp/b.png", PNG), "tar -C FOLDER"),
            ("holes", ("b.png", PNG, {"type": tarfile.GNUTYPE_SPARSE}), "without --sparse"),
        )
    },
    "damaged tars": (
        {"cut.tar": tar(("0.png", PNG), ("1.png", PNG))[:1700], "empty.tar": b"", "page.tar": b"<html>" * 500},
        *((f"data pack {name}.tar d --size 8", 2, f"{name}.tar: ") for name in ("cut", "empty", "page")),
        *((f"data index {name}.tar --out i --size 8", 2, f"{name}.tar: ") for name in ("cut", "empty", "page")),
    ),
    "archives under the other's name": (
        {"a.tar": zipped(("a.png", PNG)), "a.zip": tar(("a.png", PNG))},
        ("data pack a.tar d --size 8", 2, "a.tar: a zip, not a tar; rename it to .zip"),
        ("data index a.tar --out i --size 8", 2, "a.tar: a zip, not a tar; rename it to .zip"),
        ("data pack a.zip d --size 8", 0, ": 1 images"),
    ),
    "odd zips": (
        {
            "up.zip": zipped(("/abs/a.png", PNG), ("../up.png", PNG), ("ok/b.png", PNG)),
            "windows.zip": zipped((r"cat\a.png", PNG), (r"dog\b.png", PNG)),
            "tars.zip": zipped(("a.tar", b"x"), ("b.tar", b"x")),
            "secret.zip": flagged(zipped(("a.png", PNG))),
            "cut.zip": zipped(("a.png", PNG))[:-30],
            "none.zip": zipped(),
        },
        ("data pack up.zip d --size 8", 0, "../up.png", "leaves the archive", "2 classes"),
        ("data show d", 0, "  abs ", "  ok "),
        ("data pack windows.zip e --size 8", 0, "2 classes"),
        ("data pack tars.zip f --size 8", 2, "holds no images", "2 (an archive in it"),
        ("data pack secret.zip f --size 8", 2, "secret.zip: encrypted", "password"),
        ("data pack cut.zip f --size 8", 2, "cut.zip: not a readable zip"),
        ("data pack none.zip f --size 8", 2, "holds no images"),
    ),
    # arrays
    **{
        f"an array {name}": ({file: data}, (f"data pack {file} d --size 8", code, *said))
        for name, file, data, code, *said in (
            ("of objects", "a.npy", npy(np.array([1, "x"], object)), 2, "a.npy: not a readable array"),
            ("of floats", "a.npy", npy(np.zeros((3, 8, 8, 3), np.float32)), 2, "float32 [3, 8, 8, 3]", "uint8"),
            ("of channels first", "a.npy", npy(np.zeros((3, 3, 8, 8), np.uint8)), 2, "[n, height, width"),
            ("of no pixels", "a.npy", npy(np.zeros((3, 0, 8), np.uint8)), 2, "uint8 [3, 0, 8]"),
            ("without images", "a.npy", npy(np.zeros((0, 8, 8), np.uint8)), 2, "holds no images"),
            ("cut short", "a.npy", npy(np.zeros((3, 8, 8), np.uint8))[:200], 2, "not a readable array"),
            ("of no bytes", "a.npy", b"", 2, "not a readable array"),
            ("of labels as floats", "a.npz", npz(labels=np.arange(3.0)), 2, "label 0.0"),
            ("of labels below 0", "a.npz", npz(labels=np.array([0, -1, 1])), 2, "label -1"),
            ("of labels as flags", "a.npz", npz(labels=np.array([True, False, True])), 2, "label True"),
            ("of labels one-hot", "a.npz", npz(labels=np.eye(3, dtype=int)), 2, "label [1, 0, 0]"),
            ("of one label", "a.npz", npz(labels=np.array(3)), 2, "1 labels for 3 images"),
            ("of labels as objects", "a.npz", npz(labels=np.array(["a", "b", 1], object)), 2, "not a readable array"),
            ("of labels as names", "a.npz", npz(labels=np.array(["b", "a", "b"])), 0, "2 classes"),
            ("of equal names", "a.npz", npz(labels=np.arange(3), class_names=np.array(list("aba"))), 2, "called a;"),
            ("of one name", "a.npz", npz(labels=np.arange(3), class_names=np.array("a")), 2, "class_names are"),
            ("of others", "a.npz", npz(labels=np.zeros(3, int), more=np.zeros(2)), 0, "left out: 1", "more"),
            ("idx, cut short", "a-idx3-ubyte", idx(5, 8, 8)[:-9], 2, "not a whole idx file"),
            ("idx, too long", "a-idx3-ubyte", idx(5, 8, 8) + b"x", 2, "not a whole idx file"),
            ("idx, cut gzip", "a-idx3-ubyte.gz", gzip.compress(idx(5, 8, 8))[:-9], 2, "not a whole idx file"),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_a_source(name, here):
    files, *steps = SOURCES[name]
    write(files)
    for command, code, *said in steps:
        check(command, code, *said)
    assert not (here / "~").exists()


def test_links_to_nothing_and_names_in_another_code_are_named():
    write(TWO, "s")
    Path("s/gone.png").symlink_to("nowhere/1.png")
    for name in (b"caf\xe9.txt", b"caf\xe8.txt"):
        os.close(os.open(b"s/" + name, os.O_CREAT))
    check("data pack s d --size 8", 0, ": 2 images", "a broken link): gone.png", r"caf\xe8.txt, caf\xe9.txt")


def test_of_two_files_of_one_name_in_a_zip_one_is_packed_and_that_is_said():
    with pytest.warns(UserWarning, match="Duplicate"):
        write({"a.zip": zipped(("a.png", PNG), ("a.png", OTHER))})
    check("data pack a.zip d --size 8", 0, ": 1 images", "an older file of the same name): a.png")
