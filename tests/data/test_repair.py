import json
import re
import shutil

import numpy as np
import pytest

from ganlab.data.format.shards import Index, write_index
from ganlab.data.make.check import check
from ganlab.data.make.pack import pack
from ganlab.data.make.repair import repair
from ganlab.types import UserError


@pytest.fixture
def layered(photos, tmp_path):
    """The photos in shards of 10, 10 and 4, with copies of 4 px."""
    pack(photos, tmp_path / "layered", size=8, shard_samples=10, pyramid=True)
    return tmp_path / "layered"


def facts(folder):
    index = Index.open(folder)
    return index.image, index.shards, index.fingerprint, index.samples.tolist(), index.members.tolist()


def test_a_whole_dataset_is_left_as_it_is(layered):
    before = {path: path.stat().st_mtime_ns for path in layered.iterdir()}
    assert repair(layered) == [f"{layered}: the index fits the shards; nothing was changed"]
    assert {path: path.stat().st_mtime_ns for path in layered.iterdir()} == before


def other_index(folder):
    for name in ("index.json", "samples.npy"):
        shutil.copy(folder.parent / "other" / name, folder / name)


def move(folder):
    """Write an index that is whole, but says another place and class."""
    index = Index.open(folder)
    samples = np.array(index.samples)
    samples["offset"][3] += 512
    write_index(
        folder,
        index.image,
        index.class_names,
        list(index.shards),
        samples,
        index.pack,
        index.pyramid,
        np.array(index.members),
    )


def forget_a_shard(folder):
    index = Index.open(folder)
    samples, members = np.array(index.samples[:20]), np.array(index.members[:20])
    write_index(
        folder, index.image, index.class_names, list(index.shards[:2]), samples, index.pack, index.pyramid, members
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "cause", "kept"),
    [
        (lambda d: (d / "index.json").unlink(), "there was none", False),
        (lambda d: (d / "index.json").write_text("{"), "it was damaged: ", False),
        (other_index, "it was of another dataset", False),
        (lambda d: (d / "samples.npy").unlink(), r"it was damaged: .*samples\.npy: missing", True),
        (lambda d: (d / "pyramid.npy").write_bytes(b"x"), r"it was damaged: .*pyramid\.npy: sha256", True),
        (
            lambda d: (d / "index.json").write_text((d / "index.json").read_text().replace('"seed": 0', '"seed": 4')),
            "it was damaged: .*its sha256 is another",
            True,
        ),
        (move, "it had other places or classes", True),
        (forget_a_shard, "it had other shards", True),
    ],
)
def test_an_index_is_made_anew_from_whole_shards(photos, layered, damage, cause, kept):
    pack(photos, layered.parent / "other", size=4)
    before, shards = facts(layered), {path: path.read_bytes() for path in layered.glob("*.tar")}
    damage(layered)
    done, names = repair(layered)
    assert re.search(rf"rewritten \({cause}.*: 24 images, 8x8, 3 channels", done)
    assert facts(layered) == before and check(layered).problems == []
    assert {path: path.read_bytes() for path in layered.glob("*.tar")} == shards
    assert Index.open(layered).class_names == (("ant", "bee", "cat") if kept else ("0", "1", "2"))
    assert ("as in the old index" in names) == kept == bool(Index.open(layered).pack)


def claim(folder):
    (folder / "pack.json").write_text("{}")


def shorten(folder):
    path = folder / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:-20_000])


def change_an_image(folder):
    index = Index.open(folder)
    path = folder / "shard-000001.tar"
    data = bytearray(path.read_bytes())
    data[index.samples["offset"][12] + index.samples["size"][12] // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: [path.unlink() for path in d.glob("*.tar")], "no folder of this machine that holds shards"),
        (claim, "a pack has begun here and not ended; finish it with the same `ganlab data pack`"),
        (lambda d: (d / "shard-000001.tar").unlink(), r"shard-000001\.tar: is missing, or has changed"),
        (lambda d: [(d / "shard-000001.tar").unlink(), (d / "samples.npy").unlink()], "000001.tar: is missing, or"),
        (shorten, r"shard-000001\.tar: (damaged|no valid header|member)"),
        (change_an_image, r"shard-000001\.tar: is missing, or has changed since it was packed; copy it again"),
        (lambda d: [change_an_image(d), (d / "index.json").unlink()], r"shard-000001\.tar: image at byte .*decode"),
    ],
)
def test_shards_that_are_not_whole_get_no_index(layered, damage, message):
    damage(layered)
    before = {path: path.read_bytes() for path in layered.iterdir()}
    with pytest.raises(UserError, match=message):
        repair(layered)
    assert {path: path.read_bytes() for path in layered.iterdir()} == before


def test_images_of_unlike_sizes_or_copies_get_no_index(photos, layered):
    for size, pyramid in ((16, False), (8, False)):
        other = layered.parent / f"{size}"
        pack(photos, other, size=size, pyramid=pyramid)
        shutil.copy(other / "shard-000000.tar", layered / "shard-000003.tar")
        (layered / "index.json").unlink(missing_ok=True)
        with pytest.raises(UserError, match=r"16x16 pixels instead of 8x8|copies of other sizes than in shard-000000"):
            repair(layered)


def test_an_index_without_labels(photos, tmp_path):
    pack(photos / "ant", tmp_path / "d", size=8, channels=4)
    before = facts(tmp_path / "d")
    fields = json.loads((tmp_path / "d" / "index.json").read_text())
    (tmp_path / "d" / "index.json").unlink()
    repair(tmp_path / "d")
    assert facts(tmp_path / "d") == before and fields["image"]["classes"] == 0
