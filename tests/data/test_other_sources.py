import os
import pickle
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
from made import arrays, encoded, idx, jpeg_bomb, png_bomb, write_tar
from PIL import Image
from torchvision import datasets

from ganlab.data.format.shards import Index
from ganlab.data.make.foreign import index
from ganlab.data.make.pack import pack
from ganlab.data.make.repair import repair
from ganlab.data.make.sources import open_source
from ganlab.types import UserError


def webdataset_of(folder, pixels, labels=None):
    for number, chosen in enumerate(([0, 1, 2], [3, 4, 5])):
        members = [(f"x/{i}.png", encoded(pixels[i])) for i in chosen]
        members += [(f"x/{i}.json", b"{}") for i in chosen] + [(f"x/{i}.seg.png", b"a mask") for i in chosen]
        members += [(f"x/{i}.cls", str(labels[i]).encode()) for i in chosen if labels]
        folder.mkdir(exist_ok=True)
        write_tar(folder / f"part-{number:03d}.tar", *sorted(members))
    return folder


@pytest.mark.parametrize("spelling", ["", "part-{000..001}.tar"])
def test_a_webdataset(tmp_path, pixels, spelling):
    labels = [2, 0, 1, 1, 0, 0]
    source = open_source(webdataset_of(tmp_path / "d", pixels, labels) / spelling)
    assert source.labels.tolist() == labels and source.class_names == ("0", "1", "2")
    assert (arrays(source) == pixels).all() and source.describe(4) == f"{tmp_path}/d/part-001.tar/x/4.png"
    part = open_source(tmp_path / "d" / "part-001.tar")
    assert part.labels.tolist() == labels[3:] and (arrays(part) == pixels[3:]).all()


def test_a_webdataset_of_ganlab_is_a_source_for_another_size(photos, packed, tmp_path):
    again = pack(packed, tmp_path / "d", size=4, shard_samples=10)
    labels = pack(photos, tmp_path / "pyramid", size=8, pyramid=True).samples["label"]
    assert again.image.classes == 3 and len(again) == 24
    source = open_source(tmp_path / "pyramid")
    assert len(source) == 24 and source.labels.tolist() == labels.tolist()  # copies are no images of their own


def test_a_webdataset_without_classes(tmp_path, pixels):
    source = open_source(webdataset_of(tmp_path / "d", pixels))
    assert source.labels is None and source.class_names == () and len(source) == 6


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("0.png", b"x"), ("0.jpg", b"x")], r"member 0.jpg: a second image for key 0"),
        ([("0.png", b"x"), ("0.cls", b" ")], "member 0.cls: b' ' where one class"),
        ([("/0.png", b"x")], "member /0.png: not an ordinary file"),
        ([("0.json", b"x")], "holds no images"),
    ],
)
def test_a_webdataset_that_does_not_fit(tmp_path, members, message):
    with pytest.raises(UserError, match=message):
        open_source(write_tar(tmp_path / "d.tar", *members))


def test_images_without_a_class_are_unlabelled_packed_or_indexed(tmp_path, pixels):
    """As few labels among many images are brought; a repaired index has the same."""
    pngs = [(f"{i}.png", encoded(pixels[i])) for i in range(4)]
    (tmp_path / "d").mkdir()
    write_tar(tmp_path / "d" / "d.tar", *pngs, ("1.cls", b"cat"), ("3.cls", b"dog"))
    made = pack(tmp_path / "d", tmp_path / "packed", size=16)
    found = index(str(tmp_path / "d"), tmp_path / "index", size=16)
    for each in (made, found):
        assert sorted(each.samples["label"]) == [-1, -1, 0, 1] and each.class_names == ("cat", "dog")
        assert "without a class: 0.png, 2.png" in each.account["notes"]
    (tmp_path / "packed" / "index.json").unlink()
    repair(tmp_path / "packed")
    assert Index.open(tmp_path / "packed").samples.tolist() == made.samples.tolist()


def test_the_same_pack_again_reads_no_image(tmp_path, pixels):
    """A picture of the same size and time, but coloured, stands for those that are not looked at again."""
    (tmp_path / "d").mkdir()
    grey, coloured = encoded(pixels[0].mean(-1).astype("uint8")), encoded(pixels[0])
    file, size = tmp_path / "d" / "0.png", max(len(grey), len(coloured))
    file.write_bytes(grey.ljust(size, b" "))
    first, before = pack(tmp_path / "d", tmp_path / "packed", size=16), file.stat()
    file.write_bytes(coloured.ljust(size, b" "))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert pack(tmp_path / "d", tmp_path / "packed", size=16).image.channels == first.image.channels == 1


def test_a_missing_part_of_a_webdataset(tmp_path, pixels):
    webdataset_of(tmp_path / "d", pixels)
    with pytest.raises(UserError, match=r"part-002\.tar: no such file"):
        open_source(tmp_path / "d" / "part-{000..002}.tar")


@pytest.fixture
def lsun(tmp_path, pixels):
    """An LMDB as LSUN has it: WebP or JPEG files by the hash of their address."""
    with lmdb.open(str(tmp_path / "bridge_val_lmdb")) as environment, environment.begin(write=True) as writing:
        for i, image in enumerate(pixels):
            writing.put(bytes([250 - i]) + b"f3", encoded(image))
    return tmp_path / "bridge_val_lmdb"


def test_an_lmdb(lsun, pixels, tmp_path):
    source = open_source(lsun)
    assert len(source) == 6 and source.labels is None and source.name == "bridge_val_lmdb"
    assert (arrays(source) == pixels[::-1]).all()  # an LMDB is ordered by key
    del source
    assert len(pack(lsun, tmp_path / "d", size=4)) == 6


def test_an_lmdb_without_the_package_or_its_bytes(lsun, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UserError, match="needs a package more: pip install lmdb"):
        open_source(lsun)
    monkeypatch.undo()
    (lsun / "data.mdb").write_bytes(b"nonsense" * 999)
    with pytest.raises(UserError, match=r"not a readable LMDB .*; copy or download it again"):
        open_source(lsun)


@pytest.fixture
def mnist(tmp_path, pixels):
    """A folder in which torchvision finds an MNIST of six and of two images."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 6), ("t10k", 2)):
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(pixels[:count, ..., 0]))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(count, dtype=np.uint8)))
    return tmp_path


def test_torchvision(mnist, pixels, tmp_path):
    source = open_source(f"torchvision:MNIST:{mnist}")
    assert source.labels.tolist() == list(range(6)) and source.class_names == tuple(datasets.MNIST.classes)
    assert (arrays(source) == pixels[..., 0]).all() and source.name == "MNIST"
    assert len(open_source(f"torchvision:MNIST.test:{mnist}")) == 2
    index = pack(f"torchvision:MNIST:{mnist}", tmp_path / "d", size=4)
    assert (index.image.channels, index.image.classes) == (1, 10)


def test_torchvision_by_split_and_without_a_list_of_labels(tmp_path, pixels):
    for i, name in enumerate(("negative", "positive")):
        (tmp_path / "rendered-sst2" / "test" / name).mkdir(parents=True)
        Image.fromarray(pixels[i]).save(tmp_path / "rendered-sst2" / "test" / name / "0.png")
    source = open_source(f"torchvision:RenderedSST2.test:{tmp_path}")
    assert source.labels.tolist() == [0, 1] and source.class_names == ("negative", "positive")
    assert (arrays(source) == pixels[:2]).all()


@pytest.mark.parametrize(
    ("spelled", "message"),
    [
        ("torchvision:CIFAR10:{}", "torchvision cannot open it .*; download it first, whole: ganlab does not"),
        ("torchvision:CIFRA10:{}", "torchvision has no dataset 'CIFRA10' in a folder"),
        ("torchvision:os:{}", "torchvision has no dataset 'os' in a folder"),
        ("torchvision:FakeData:{}", "torchvision has no dataset 'FakeData' in a folder"),
        ("torchvision:MNIST.valid:{}", "torchvision's MNIST has no split 'valid'; write torchvision:MNIST:"),
        ("torchvision:MNIST", "no such file or folder; give a folder of images"),
    ],
)
def test_what_torchvision_has_not(tmp_path, spelled, message):
    with pytest.raises(UserError, match=message):
        open_source(spelled.format(tmp_path))


def sources(tmp_path, pixels, lsun, mnist):
    np.save(tmp_path / "a.npy", pixels)
    np.savez(tmp_path / "a.npz", images=pixels)
    (tmp_path / "f").mkdir()
    Image.fromarray(pixels[0]).save(tmp_path / "f" / "a.png")
    webdataset_of(tmp_path / "w", pixels)
    return [tmp_path / "a.npy", tmp_path / "a.npz", tmp_path / "f", tmp_path / "w", lsun, f"torchvision:MNIST:{mnist}"]


def test_another_process_can_be_given_any_source(tmp_path, pixels, lsun, mnist):
    for path in sources(tmp_path, pixels, lsun, mnist):
        source = open_source(path)
        expected, facts, whole = np.array(source.image(0)), source.facts().state, pickle.dumps(source)
        del source
        assert len(whole) < 5_000, path  # no pixels, or few
        copy = pickle.loads(whole)
        assert (np.array(copy.image(0)) == expected).all() and copy.facts().state == facts


def test_a_changed_image_has_other_facts(tmp_path, pixels):
    for i in range(3):
        Image.fromarray(pixels[i]).save(tmp_path / f"{i}.png")
    before = open_source(tmp_path).facts().each
    time = (tmp_path / "1.png").stat().st_mtime_ns
    os.utime(tmp_path / "1.png", ns=(time + 1, time + 1))
    after = open_source(tmp_path).facts().each
    assert before[0] == after[0] and before[1] != after[1] and before[2] == after[2]
    assert len(set(before.tolist())) == 3


def test_a_copy_of_an_npz_has_the_same_facts(tmp_path, pixels):
    facts = []
    for name, images in (("a", pixels), ("b", pixels), ("c", pixels[::-1])):
        np.savez(tmp_path / f"{name}.npz", images=images)
        facts.append(open_source(tmp_path / f"{name}.npz").facts().state)
    assert facts[0] == facts[1] != facts[2]


def test_a_mended_image_spares_the_other_shards(tmp_path, pixels):
    for i in range(6):
        Image.fromarray(pixels[i]).save(tmp_path / f"{i}.png")
    order = np.random.Generator(np.random.PCG64(0)).permutation(6).tolist()
    broken = tmp_path / f"{order[4]}.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:40])
    with pytest.raises(UserError, match="cannot be decoded"):
        pack(tmp_path, tmp_path / "d", size=4, channels=3, shard_samples=2)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "d").glob("*.tar")}
    assert len(kept) == 2
    broken.write_bytes(whole)
    Image.fromarray(255 - pixels[order[2]]).save(tmp_path / f"{order[2]}.png")
    index = pack(tmp_path, tmp_path / "d", size=4, channels=3, shard_samples=2)
    pack(tmp_path, tmp_path / "e", size=4, channels=3, shard_samples=2)
    assert (tmp_path / "d" / "shard-000000.tar").stat().st_mtime_ns == kept["shard-000000.tar"]
    assert (tmp_path / "d" / "shard-000001.tar").read_bytes() == (tmp_path / "e" / "shard-000001.tar").read_bytes()
    Image.fromarray(pixels[0]).rotate(90).save(tmp_path / "0.png")
    with pytest.raises(
        UserError, match="of which 1 of 6 images are gone or have changed since, and 1 are new; a dataset only grows"
    ):
        pack(tmp_path, index.folder, size=4, channels=3, shard_samples=2)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no way to ask for the peak of memory here")
@pytest.mark.parametrize(("suffix", "bomb"), [("png", png_bomb), ("jpg", jpeg_bomb)])
def test_a_bomb_in_a_source_is_refused_before_it_goes_off(tmp_path, suffix, bomb):
    (tmp_path / f"a.{suffix}").write_bytes(bomb(20_000))
    assert (tmp_path / f"a.{suffix}").stat().st_size < 10_000
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = peak()
    with pytest.raises(UserError, match=rf"a\.{suffix}: cannot be decoded \(Image size \(400000000 pixels\) exceeds"):
        pack(tmp_path, tmp_path / "d", size=8, channels=3)
    assert peak() - before < 50_000_000


def peak():
    """Most bytes that this process has held."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
