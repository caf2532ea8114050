import hashlib
import json
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import write_tar

from ganlab.data.format.shards import Index, Shard, write_index
from ganlab.data.format.tars import MEMBER, SAMPLE, walk
from ganlab.data.make.pack import pack
from ganlab.files import sha256_of
from ganlab.types import ImageSpec, UserError


def test_index_is_what_tarfile_and_hashlib_say(packed):
    index = Index.open(packed)
    assert index.image == ImageSpec(8, 8, 3, 3) and index.class_names == ("ant", "bee", "cat")
    assert [shard.samples for shard in index.shards] == [10, 10, 4] and len(index) == 24
    i = 0
    for shard in index.shards:
        data = (packed / shard.name).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        with tarfile.open(packed / shard.name) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}
        for name in sorted(name for name in files if name.endswith(".png")):
            offset, size, crc32, label = index.samples[i].tolist()
            assert name == f"{i:09d}.png"
            assert data[offset : offset + size] == files[name] and crc32 == zlib.crc32(files[name])
            assert label == int(files[name.replace("png", "cls")])
            i += 1
    assert i == 24


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_places_agree_with_counting(counts):
    shards = tuple(Shard(str(k), 0, count, "") for k, count in enumerate(counts))
    rows = [(3 * i, i + 1, 7 * i, i % 3) for i in range(sum(counts))]
    index = Index(Path(), ImageSpec(1, 1, 1), (), shards, np.array(rows, SAMPLE), "", {})
    expected = [k for k, count in enumerate(counts) for _ in range(count)]
    backwards = np.arange(len(index))[::-1]
    assert index.places(backwards, 1) == [(i, expected[i], *rows[i]) for i in backwards.tolist()]
    assert index.place(len(index) - 1, 1).shard == expected[-1]
    assert index.starts.tolist() == [sum(counts[:k]) for k in range(len(counts))]


def test_fingerprint_is_of_the_content(photos, packed, tmp_path):
    same = pack(photos, tmp_path / "same", size=8, shard_samples=10)
    other = pack(photos, tmp_path / "other", size=8, shard_samples=10, seed=1)
    assert Index.open(packed).fingerprint == same.fingerprint != other.fingerprint


def edit(folder, **changes):
    """Change index.json, and leave it without its own sha256, as the first ones were."""
    path = folder / "index.json"
    fields = json.loads(path.read_text()) | changes
    del fields["sha256"]
    path.write_text(json.dumps(fields))


def swap(folder):
    """Put the samples of another dataset beside this index."""
    np.save(folder / "samples.npy", np.zeros(24, SAMPLE))


def shorten(folder):
    """Write an index that disagrees with itself on the number of samples."""
    index = Index.open(folder)
    write_index(folder, index.image, index.class_names, list(index.shards), np.array(index.samples[:23]), {})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "index.json").unlink(), "shards without index.json.*ganlab data pack"),
        (lambda d: [f.unlink() for f in d.iterdir()], "no shards; pack some with `ganlab data pack"),
        (lambda d: (d / "index.json").write_text("{"), r"index\.json: malformed"),
        (lambda d: (d / "index.json").write_text("[]"), r"index\.json: malformed"),
        (lambda d: edit(d, pyramid=[4, 2]), r"index\.json: malformed \(a pyramid of \[4, 2\]\)"),
        (lambda d: edit(d, pyramid=[4, 8]), r"index\.json: malformed \(a pyramid of \[4, 8\]\)"),
        (lambda d: edit(d, pyramid=[4]), r"index\.json: malformed \(no 'pyramid_sha256'\)"),
        (lambda d: edit(d, pyramid=[4], pyramid_sha256="0"), r"pyramid\.npy: missing"),
        (lambda d: edit(d, format=2), "format 2, but this ganlab reads format 1"),
        (lambda d: edit(d, shards=[{"name": "x"}]), r"index\.json: malformed.*missing"),
        (lambda d: edit(d, image={"height": 8}), r"index\.json: malformed.*missing"),
        (lambda d: edit(d, shards=[{"name": "../x", "bytes": 1, "samples": 1, "sha256": ""}]), "outside the folder"),
        (lambda d: (d / "samples.npy").unlink(), r"samples\.npy: missing"),
        (swap, r"samples\.npy: sha256 .* but index\.json says .* another dataset"),
        (shorten, r"samples\.npy: \(23,\) of .* has \(24,\)"),
        (lambda d: (d / "shard-000001.tar").unlink(), r"shard-000001\.tar is missing; copy it again"),
        (lambda d: (d / "shard-000002.tar").write_bytes(b"x"), r"shard-000002\.tar has 1 bytes instead of \d+"),
        (lambda d: [f.write_bytes(b"") for f in d.glob("*.tar")], "00.* 0 bytes.*01.* 0 bytes.*02.* 0 bytes"),
    ],
)
def test_open_names_what_is_wrong(packed, damage, message):
    Index.open(packed)
    damage(packed)
    with pytest.raises(UserError, match=message) as error:
        Index.open(packed)
    assert str(packed) in str(error.value)


def test_open_tells_how_to_make_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"none: no such folder; .* `ganlab data pack SOURCE .*none --size N`"):
        Index.open(tmp_path / "none")


def test_open_names_only_a_few_of_many(photos, tmp_path):
    pack(photos, tmp_path / "d", size=4, shard_samples=3)
    for shard in (tmp_path / "d").glob("*.tar"):
        shard.unlink()
    with pytest.raises(UserError, match=r"000004\.tar is missing, and 3 more;"):
        Index.open(tmp_path / "d")


def test_walk_takes_other_writers_tars(tmp_path):
    path = write_tar(
        tmp_path / "s.tar", ("a/b.jpg", b"one"), ("a/b.cls", b"7"), ("a/c.png", b"two"), ("a/c.json", b"{}")
    )
    contents = walk(path)
    samples = contents.samples
    assert contents.keys == ["a/b", "a/c"]
    assert samples["label"].tolist() == [7, -1] and samples["size"].tolist() == [3, 3]
    assert [path.read_bytes()[offset:][:3] for offset in samples["offset"]] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("0.png", b"x"), ("0.png", b"y")], "member 0.png: a second image for key 0"),
        ([("0.png", b"x"), ("0.jpg", b"y")], "member 0.jpg: a second image for key 0"),
        ([("0.png", b"")], "member 0.png: an image of 0 bytes"),
        ([("0.cls", b"cat"), ("0.png", b"x")], "member 0.cls: b'cat' where one class"),
        ([("0.cls", b""), ("0.png", b"x")], "member 0.cls: b'' where one class"),
        ([("0.cls", b"9" * 10), ("0.png", b"x")], "member 0.cls: .* where one class"),
        ([("0.cls", b"1"), ("0.cls", b"2"), ("0.png", b"x")], "member 0.cls: a second class for key 0"),
        ([("0.cls", b"1")], "member 0.cls: a class without an image"),
        ([("0.png", b"x"), ("0.r008.png", b"")], "member 0.r008.png: an image of 0 bytes"),
        ([("0.png", b"x"), ("0.r008.png", b"y"), ("0.r008.jpg", b"z")], "member 0.r008.jpg: a second image for key 0"),
        ([("0.png", b"x"), ("0.r008.png", b"y"), ("1.png", b"z")], "member 1.r008: is missing"),
        ([("0.r008.png", b"y")], "member 0.r008: a copy without its image"),
        ([("0.png", b"x", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})], "member 0.png: not an ordinary file"),
        ([("0.png", b"x", {"type": tarfile.LNKTYPE, "linkname": "1.png"})], "member 0.png: not an ordinary file"),
        ([("../0.png", b"x")], r"member \.\./0\.png: not an ordinary file"),
        ([("/0.png", b"x")], "member /0.png: not an ordinary file"),
        ([("0.png", b"x", {"size": 10**9})], "member 0.png: 1,000,000,000 bytes at .* past the end"),
        ([("0.png", b"x", {"size": -512})], "member 0.png: .* past the end|damaged"),
    ],
)
def test_walk_refuses(tmp_path, members, message):
    try:
        path = write_tar(tmp_path / "s.tar", *members)
    except OSError:  # tarfile writes the header, then misses the rest of the bytes
        path = tmp_path / "s.tar"
        path.write_bytes(path.read_bytes() + bytes(1024))
    with pytest.raises(UserError, match=message) as error:
        walk(path)
    assert str(path) in str(error.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_walk_never_drops_a_sample_in_silence(packed, flip, data):
    path = packed / "shard-000000.tar"
    whole = path.read_bytes()
    contents = walk(path)
    before, keys = contents.samples, contents.keys
    headers = [byte for offset in before["offset"] for byte in range(offset - 512, offset)]
    byte = data.draw(st.sampled_from(headers) | st.integers(0, len(whole) - 1))
    flip(path, byte, data.draw(st.integers(0, 7)))
    try:
        found = walk(path)
        assert found.keys == keys  # harmless (padding, spaces), or the crc32 tells
        assert found.samples["offset"].tolist() == before["offset"].tolist()
    except UserError as error:
        assert str(path) in str(error)
    finally:
        path.write_bytes(whole)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_walk_refuses_a_shortened_tar(packed, data):
    path = packed / "shard-000000.tar"
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0"))
    path.write_bytes(whole[: data.draw(st.integers(0, end))])
    with pytest.raises(UserError):
        walk(path)
    path.write_bytes(whole)


@pytest.fixture
def pyramid(tmp_path):
    """Two images of 16 px with copies of 4 and 8 px, in an index."""
    names = [f"{key}.{suffix}" for key in "ab" for suffix in ("png", "r008.png", "r004.jpg")]
    path = write_tar(tmp_path / "s.tar", *[(name, name.encode()) for name in names])
    found = walk(path)
    shard = Shard(path.name, path.stat().st_size, 2, sha256_of(path))
    write_index(tmp_path, ImageSpec(16, 16, 3), (), [shard], found.samples, {}, found.pyramid, found.members)
    return Index.open(tmp_path)


def test_a_pyramid_gives_the_smallest_copy_that_is_large_enough(pyramid):
    assert pyramid.pyramid == (4, 8) and pyramid.members.shape == (2, 2) and pyramid.members.dtype == MEMBER
    data = (pyramid.folder / "s.tar").read_bytes()
    for height, suffix in ((1, "r004.jpg"), (4, "r004.jpg"), (5, "r008.png"), (8, "r008.png"), (9, "png"), (16, "png")):
        for i, key in enumerate("ab"):
            place = pyramid.place(i, height)
            assert data[place.offset : place.offset + place.size] == f"{key}.{suffix}".encode()
            assert place.crc32 == zlib.crc32(data[place.offset : place.offset + place.size])


def test_the_fingerprint_covers_the_pyramid(pyramid):
    without = dict(json.loads((pyramid.folder / "index.json").read_text()))
    edit(pyramid.folder, pyramid=[])
    assert without["pyramid"] == [4, 8] and Index.open(pyramid.folder).fingerprint != pyramid.fingerprint


def test_a_pyramid_of_another_dataset_is_refused(pyramid):
    np.save(pyramid.folder / "pyramid.npy", np.zeros((2, 2), MEMBER))
    with pytest.raises(UserError, match=r"pyramid\.npy: sha256 .* another dataset; copy pyramid\.npy and index\.json"):
        Index.open(pyramid.folder)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_of_an_index_is_named_or_says_the_same(pyramid, flip, data):
    path = pyramid.folder / data.draw(st.sampled_from(["index.json", "samples.npy", "pyramid.npy"]))
    whole = path.read_bytes()
    flip(path, data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7)))
    try:
        found = Index.open(pyramid.folder)
        assert path.name == "index.json"
        assert all(str(getattr(found, name)) == str(getattr(pyramid, name)) for name in vars(pyramid))
    except UserError as error:
        assert path.name in str(error)
    finally:
        path.write_bytes(whole)


def test_a_range_of_shards_is_a_view_of_the_index(packed):
    """Copied, the index of a billion images would be in the memory of every process."""
    index = Index.open(packed)
    some = index.only(["shard-000001.tar", "shard-000002.tar"])
    assert np.shares_memory(some.samples, index.samples) and isinstance(some.samples, np.memmap)
    assert some.samples.tolist() == index.samples[10:24].tolist() and some.starts.tolist() == [0, 10]
    others = index.only(["shard-000002.tar", "shard-000000.tar"])
    assert others.samples.tolist() == [*index.samples[20:24].tolist(), *index.samples[:10].tolist()]
