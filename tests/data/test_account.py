"""What a source leaves out, and what it takes classes from, is said, kept and the same for pack and index."""

import gzip
import json
import os
import sys
import tarfile

import brought
import numpy as np
import pytest
import tiny_runs as runs
from made import arrays, encoded, idx, write_tar
from PIL import Image, ImageCms

from ganlab.data import ShardDataset
from ganlab.data.format import pictures
from ganlab.data.format.shards import Index
from ganlab.data.make.check import check
from ganlab.data.make.foreign import index
from ganlab.data.make.pack import pack
from ganlab.data.make.show import account_of, describe
from ganlab.data.make.sources import open_source
from ganlab.types import UserError

PNG = encoded(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
JPEG = encoded(np.random.default_rng(1).integers(0, 256, (9, 9, 3), np.uint8), "jpeg")


def write(root, files):
    brought.write(files, root)
    return root


def zipped(path, *members):
    path.write_bytes(brought.zipped(*members))
    return path


def left(source):
    return {why: (found.count, found.first) for why, found in source.account.left_out.items()}


def test_a_folder_names_what_it_leaves_out(tmp_path):
    files = dict.fromkeys(("cat/a.png", "cat/b.jpg", "dog.png/1.JFIF", "dog.png/nameless", "dog.png/x.jpg_large"), JPEG)
    names = ("cat/notes.txt", "cat/list.csv", "backup.tar", "dog.png/x.svg", "cat/._a.png", "cat/unknown", ".git/a.png")
    write(tmp_path / "s", files | dict.fromkeys(names, b"x"))
    (tmp_path / "s" / "bird").mkdir()
    (tmp_path / "s" / "cat" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "s" / "cat" / "loop").symlink_to("..")
    source = open_source(tmp_path / "s")
    assert list(source.names) == sorted(files) and source.class_names == ("cat", "dog.png")
    assert left(source) == {
        "hidden": (2, [".git", "cat/._a.png"]),
        "an archive in it: unpack it, or give it as a source of its own": (1, ["backup.tar"]),
        "a broken link": (1, ["cat/gone.png"]),
        "a link back to a folder that it is in": (1, ["cat/loop"]),
        "not an image (.txt)": (1, ["cat/notes.txt"]),
        "not an image (.csv)": (1, ["cat/list.csv"]),
        "not an image (no suffix)": (1, ["cat/unknown"]),
        "a format that is not read (.svg): convert it, for example to PNG": (1, ["dog.png/x.svg"]),
        "a sub-folder without an image: no class": (1, ["bird"]),
    }
    packed = pack(tmp_path / "s", tmp_path / "d", size=4)
    said = runs.ganlab("data", "pack", tmp_path / "s", tmp_path / "d", "--size", 4).output
    for lines in (list(describe(packed.folder)), said.splitlines(), check(packed.folder).lines()):
        assert "labels: the names of the sub-folders (cat, dog.png)" in lines
        assert "left out: 2 (hidden): .git, cat/._a.png" in lines


def test_linked_folders_are_followed(tmp_path):
    write(tmp_path, {"store/cat/1.png": PNG, "store/dog/1.png": PNG, "s/none.txt": b""})
    for name in ("cat", "dog"):
        (tmp_path / "s" / name).symlink_to(tmp_path / "store" / name)
    assert open_source(tmp_path / "s").class_names == ("cat", "dog")


def test_what_was_packed_into_a_source_is_no_part_of_it(tmp_path):
    write(tmp_path / "s", {"a.png": PNG, "b.png": PNG})
    for dest in ("packed", "packed", "smaller"):
        found = pack(tmp_path / "s", tmp_path / "s" / dest, size=4 if dest == "packed" else 2)
        check(found.folder)
        assert len(found) == 2
    with pytest.raises(UserError, match="holds no images"):
        (tmp_path / "s" / "a.png").unlink()
        (tmp_path / "s" / "b.png").unlink()
        open_source(tmp_path / "s")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


def test_heic_is_read_or_named(tmp_path, monkeypatch):
    write(tmp_path, {"a.png": PNG, "b.heic": HEIC, "c": HEIC, "d.jpg": HEIC})
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for function in (pictures.reads_heif, pictures.suffixes):
        function.cache_clear()
    try:
        source = open_source(tmp_path)
        assert left(source) == {pictures.NEEDS_HEIF: (2, ["b.heic", "c"])}
        with pytest.raises(
            UserError, match=r"d\.jpg: cannot be decoded \(HEIC, which needs .* pip install pillow-heif"
        ):
            source.image(1)
    finally:
        monkeypatch.undo()
        for function in (pictures.reads_heif, pictures.suffixes):
            function.cache_clear()
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    grey = np.full((8, 8, 3), 100, np.uint8)
    write(tmp_path / "h", {"a.heic": encoded(grey, "heif"), "b.jpg": encoded(grey, "heif")})
    assert np.abs(np.stack(arrays(open_source(tmp_path / "h"))).astype(int) - 100).max() < 9


@pytest.mark.parametrize("kind", ["avif", "jpeg2000", "tga", "tiff", "gif", "bmp", "ppm", "sgi", "pcx", "qoi"])
def test_what_pillow_reads_is_packed_and_indexed_alike(tmp_path, kind):
    pixels = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    suffix = {"jpeg2000": "jp2", "tiff": "tif"}.get(kind, kind)
    data = encoded(pixels, kind)
    write_tar(tmp_path / "a.tar", (f"0.{suffix}", data), ("1.png", data))  # found by content
    index(str(tmp_path / "a.tar"), tmp_path / "i", size=8)
    pack(tmp_path / "a.tar", tmp_path / "p", size=8)
    for folder in ("i", "p"):
        out, dataset = np.empty((8, 8, 3), np.uint8), ShardDataset(tmp_path / folder)
        for i in range(2):
            dataset.read(i, out)
            assert np.abs(out.astype(int) - pixels).max() < (60 if kind == "gif" else 9)


def swapped():
    """An ICC profile in which red is blue."""
    raw = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = range(132, 132 + 12 * int.from_bytes(raw[128:132], "big"), 12)
    red, blue = (next(at for at in entries if raw[at : at + 4] == tag) + 4 for tag in (b"rXYZ", b"bXYZ"))
    raw[red : red + 8], raw[blue : blue + 8] = raw[blue : blue + 8], raw[red : red + 8]
    return bytes(raw)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK"])
def test_upright_and_in_srgb_wherever_it_is_decoded(tmp_path, kind, mode):
    picture = Image.new("RGB", (32, 32), (255, 0, 0))
    picture.paste((0, 0, 0), (0, 0, 16, 32))
    try:
        file = tmp_path / f"0.{kind}"
        exif = Image.Exif()
        exif[0x112] = 6
        options = {"quality": 98} if kind == "jpeg" else {}
        picture.convert(mode).save(file, kind, exif=exif, icc_profile=swapped(), **options)
    except (OSError, ValueError):
        pytest.skip(f"no {mode} in a {kind}")
    write_tar(tmp_path / "a.tar", (file.name, file.read_bytes()))
    index(str(tmp_path / "a.tar"), tmp_path / "i", size=16)
    pack(tmp_path / "a.tar", tmp_path / "p", size=16)
    out = {name: np.empty((16, 16, 3), np.uint8) for name in "ip"}
    for name, pixels in out.items():
        ShardDataset(tmp_path / name).read(0, pixels)
    assert np.abs(out["i"].astype(int) - out["p"]).mean() < 3
    above, below = out["p"][1, 8].astype(int), out["p"][14, 8].astype(int)
    assert above.max() < 30  # the left half is on top
    if mode in ("RGB", "RGBA", "P"):
        assert below[2] > 200 and below[0] < 60


def test_of_several_frames_the_first_is_taken_and_that_is_said(tmp_path):
    frames = [Image.new("L", (8, 8), 250 * i) for i in range(2)]
    folder = write(tmp_path / "f", {"e.gif": encoded(np.zeros((8, 8), np.uint8), "gif")})
    for name in ("a.gif", "b.tif", "c.png", "d.avif"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
    tar = write_tar(tmp_path / "a.tar", *((path.name, path.read_bytes()) for path in sorted(folder.iterdir())))
    for found in (pack(folder, tmp_path / "p", size=8), index(str(tar), tmp_path / "i", size=8)):
        (note,) = found.account["notes"]
        what, names = note.split(": ")
        assert what == "several frames or pages, of which the first is taken"
        assert [name[-5:] for name in names.split(", ")[:3]] == ["a.gif", "b.tif", "c.png"] and "1 more" in note


def test_an_srgb_profile_changes_nothing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write(tmp_path, {"a.png": encoded(pixels, icc_profile=profile), "b.png": encoded(pixels, icc_profile=b"broken")})
    for found in arrays(open_source(tmp_path)):
        assert (found == pixels).all()


def members(suffix, *images):
    return [(f"{name}.{suffix}", PNG) for name in images]


@pytest.mark.parametrize("verb", ["pack", "index"])
@pytest.mark.parametrize(
    ("files", "count", "names", "lines"),
    [
        (
            members("png", "a.1", "a.2", "b"),
            3,
            (),
            ["note: images of their own, with dots in their names: a.1.png, a.2.png"],
        ),
        ([("a.png", PNG), ("a.seg.png", PNG)], 1, (), ["left out: 1 (a further image of a sample): a.seg.png"]),
        (
            members("png", "./p/cat/1", "./p/dog/1"),
            2,
            ("cat", "dog"),
            ["labels: the names of the sub-folders (cat, dog)"],
        ),
        (
            [*members("png", "0", "1"), ("0.cls", b"1\n"), ("1.cls", b" 0\r\n")],
            *(2, ("0", "1"), ["labels: the .cls beside each image"]),
        ),
        ([*members("png", "0", "1"), ("0.cls", b"dog"), ("1.cls", b"cat")], 2, ("cat", "dog"), []),
        (
            [*members("png", "0", "1"), ("0.cls", b"20240131"), ("1.cls", b"7")],
            *(2, ("7", "20240131"), ["note: labels up to 20240131 are identifiers"]),
        ),
        (
            [*members("png", "0", "1"), ("0.cls", b"2"), ("1.cls", b"0")],
            2,
            ("0", "1", "2"),
            ["classes without an image: 1 (1)"],
        ),
        ([("a.png", PNG), ("a.txt", b"a cat")], 1, (), ["left out: 1 (not an image (.txt)): a.txt"]),
        (
            [*members("png", "0", "._0"), ("0.cls", b"0"), ("._0.cls", b"\0")],
            *(1, ("0",), ["left out: 2 (hidden): ._0.png, ._0.cls"]),
        ),
        (
            [
                (f"{i}.{suffix}", PNG if suffix == "png" else b"id%d" % i)
                for i in range(101)
                for suffix in ("png", "cls")
            ],
            *(101, tuple(sorted(f"id{i}" for i in range(101))), ["note: 101 classes for a total of 101: if they are"]),
        ),
    ],
)
def test_tars_are_packed_and_indexed_by_the_same_rules(tmp_path, verb, files, count, names, lines):
    tar = write_tar(tmp_path / "a.tar", *files)
    write(tmp_path, {"._a.tar": b"x"})
    found = pack(tar, tmp_path / "d", size=4) if verb == "pack" else index(str(tar), tmp_path / "d", size=4)
    assert (len(found), found.class_names) == (count, names)
    said = account_of(Index.read(tmp_path / "d"))
    for line in lines:
        assert any(line in each for each in said), said


@pytest.mark.parametrize(("mode", "program"), [("w:gz", "gzip"), ("w:bz2", "bzip2"), ("w:xz", "xz")])
def test_compressed_tars_are_called_so(tmp_path, mode, program):
    for name in ("a.tar", "a.tgz"):
        with tarfile.open(tmp_path / name, mode) as tar:
            tar.addfile(tarfile.TarInfo("a"))
        with pytest.raises(UserError, match=f"compressed with {program}"):
            open_source(tmp_path / name)
    with pytest.raises(UserError, match=f"compressed with {program}"):
        index(str(tmp_path / "a.tar"), tmp_path / "d", size=4)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_labels_come_from_where_they_are(tmp_path, kind):
    files = {"p/x/a.png": PNG, "p/x/b.png": PNG, "p/y/a.png": PNG}
    lists = {"p/dataset.json": json.dumps({"labels": [["x/a.png", "u"], ["x/b.png", "v"], ["y/a.png", "v"]]}).encode()}
    others = {"more/dataset.json": b'{"labels": null}'}

    def made(name, content):
        if kind == "folder":
            return write(tmp_path / name, content)
        return zipped(tmp_path / f"{name}.zip", *content.items())

    if kind == "zip":  # the folder itself was zipped
        assert open_source(made("plain", files)).class_names == ("x", "y")
    source = open_source(made("one", files | lists))
    assert source.class_names == ("u", "v") and source.labels.tolist() == [0, 1, 1]
    assert source.account.labels.endswith("p/dataset.json")
    both = made("two", files | lists | others)
    with pytest.raises(
        UserError, match=r"several lists of labels \(more/dataset.json, p/dataset.json\); name one with"
    ):
        open_source(both)
    assert open_source(both, "p/dataset.json").class_names == ("u", "v")
    assert open_source(both, "none").labels is None
    write(tmp_path, {"l.json": json.dumps({"labels": dict.fromkeys(files, 1) | {"gone.png": 0}}).encode()})
    named = open_source(both, str(tmp_path / "l.json"))
    assert named.labels.tolist() == [1, 1, 1] and "labels of 1 that are not there" in named.account.notes[0]
    mixed = made("mixed", files | {"q/a.png": PNG, "loose.png": PNG})
    with pytest.raises(UserError, match=r"lie outside the sub-folders; .* --labels none"):
        open_source(mixed)
    assert len(open_source(mixed, "none")) == 5


def test_a_name_twice_in_a_zip_is_the_last_file(tmp_path, pixels):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = zipped(tmp_path / "a.zip", ("a.png", encoded(pixels[0])), ("a.png", encoded(pixels[1])))
    source = open_source(path)
    assert left(source) == {"an older file of the same name": (1, ["a.png"])}
    assert len(source) == 1 and (arrays(source)[0] == pixels[1]).all()


def test_broken_images_are_named_together_or_left_out(tmp_path):
    files = {f"{i:02}.png": encoded(np.full((6, 6, 3), i, np.uint8)) for i in range(30)}
    broken = {"03.png": b"", "11.png": PNG[:60], "29.png": b"<html>404</html>"}
    write(tmp_path / "s", files | broken)
    with pytest.raises(
        UserError, match=r"^3 of 30 pictures cannot be packed:\n(.*\n){3}mend them .* --skip-bad"
    ) as error:
        pack(tmp_path / "s", tmp_path / "d", size=4, shard_samples=5, workers=2)
    assert all(name in str(error.value) for name in broken)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "d").glob("*.tar")}
    assert len(kept) >= 3
    found = pack(tmp_path / "s", tmp_path / "d", size=4, shard_samples=5, skip_bad=True)
    assert len(found) == 27 and sum(shard.samples for shard in found.shards) == 27
    assert {name: (tmp_path / "d" / name).stat().st_mtime_ns for name in kept} == kept
    entry = found.account["left_out"]["cannot be packed"]
    assert entry["count"] == 3 and sorted(name[-6:] for name in entry["first"]) == sorted(broken)
    assert check(tmp_path / "d").problems == []
    write(tmp_path / "s", dict.fromkeys(files, b""))
    with pytest.raises(UserError, match=r"30 of 30 .*(\n.*){20}\n  and 10 more\n"):
        pack(tmp_path / "s", tmp_path / "none", size=4, skip_bad=True)


def test_removing_broken_images_cures_a_pack(tmp_path):
    write(tmp_path / "s", {f"{i}.png": PNG for i in range(9)} | {"4.png": b""})
    with pytest.raises(UserError, match="1 of 9 pictures"):
        pack(tmp_path / "s", tmp_path / "d", size=4, shard_samples=2)
    (tmp_path / "s" / "4.png").unlink()
    assert len(pack(tmp_path / "s", tmp_path / "d", size=4, shard_samples=2)) == 8
    assert len(list((tmp_path / "d").glob("*.tar"))) == 4 and check(tmp_path / "d").problems == []


def test_one_coloured_image_among_many_grey_ones(tmp_path):
    grey = encoded(np.zeros((2, 2), np.uint8))
    write(tmp_path, {f"{i:03}.png": grey for i in range(80)})
    assert pack(tmp_path, tmp_path / "grey", size=2).image.channels == 1
    write(tmp_path, {"041.png": encoded(np.zeros((2, 2, 3), np.uint8))})
    assert pack(tmp_path, tmp_path / "coloured", size=2).image.channels == 3


def test_an_idx_file_finds_its_labels(tmp_path, pixels):
    labels = idx(np.arange(6, dtype=np.uint8))
    write(tmp_path, {"train-images.idx3-ubyte": idx(pixels[..., 0])})
    bare = open_source(tmp_path / "train-images.idx3-ubyte")
    assert bare.labels is None and bare.account.labels == "none: no train-labels.idx1-ubyte beside it"
    write(tmp_path, {"train-labels.idx1-ubyte.gz": gzip.compress(labels)})
    assert open_source(tmp_path / "train-images.idx3-ubyte").labels.tolist() == list(range(6))


def test_names_that_are_not_utf_8_can_be_printed(tmp_path):
    (tmp_path / "s").mkdir()
    os.close(os.open(os.fsencode(tmp_path / "s") + b"/caf\xe9.png", os.O_CREAT))
    os.close(os.open(os.fsencode(tmp_path / "s") + b"/caf\xe9.txt", os.O_CREAT))
    with pytest.raises(UserError, match=r"s/caf\\xe9\.png: cannot be decoded") as error:
        pack(tmp_path / "s", tmp_path / "d", size=4)
    str(error.value).encode()


def test_broken_images_of_an_index_are_named_and_the_others_shown(tmp_path):
    write_tar(tmp_path / "a.tar", ("0.jpg", b"<html>"), ("1.png", PNG))
    found = index(str(tmp_path / "a.tar"), size=4)
    assert found.account["notes"] == ["bad samples, which cannot be decoded: a.tar/0.jpg"]
    lines = list(describe(tmp_path))
    assert any("by channel, of 1 images" in line for line in lines)
    assert any("0.jpg at byte 512: cannot be decoded: cannot identify its format" in line for line in lines)
