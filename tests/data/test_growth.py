"""A dataset whose source has more images than before grows by new shards."""

from shutil import copytree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ganlab.data import BatchLoader
from ganlab.data.format.shards import Index
from ganlab.data.make import pack as packing
from ganlab.data.make.check import check
from ganlab.data.make.pack import pack
from ganlab.data.read.dataset import ShardDataset
from ganlab.experiment.checks import check_growth
from ganlab.types import Phase, UserError

OPTIONS = {"size": 4, "shard_samples": 4, "pyramid": False}


def add(folder, *names):
    """Write images of one colour, which is in their names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (int(name[-6:-4]), 0, 0)).save(folder / name)


def colours(folder, names=()):
    """The colour and the class's name of each image, in the order of the shards."""
    index = Index.open(folder)
    dataset, out = ShardDataset(folder), np.empty((4, 4, 3), np.uint8)
    return [(index.class_names[dataset.read(i, out)], int(out[0, 0, 0])) for i in range(len(index))]


@pytest.fixture
def source(tmp_path):
    add(tmp_path / "s", *(f"{'bee' if i % 2 else 'dog'}/{i:02}.png" for i in range(10)))
    return tmp_path / "s"


def test_new_images_and_classes_follow_the_old(source, tmp_path):
    dest = tmp_path / "d"
    before = pack(source, dest, **OPTIONS)
    seen = colours(dest)
    kept = {path.name: path.stat().st_mtime_ns for path in dest.glob("*.tar")}
    add(source, "ant/20.png", "dog/21.png", *(f"bee/{i}.png" for i in range(22, 27)))
    after = pack(source, dest, **OPTIONS)
    assert after.class_names == ("bee", "dog", "ant") and [shard.samples for shard in after.shards] == [4, 4, 2, 4, 3]
    assert colours(dest)[:10] == seen
    assert sorted(colours(dest)[10:]) == [("ant", 20), *(("bee", i) for i in range(22, 27)), ("dog", 21)]
    assert {name: (dest / name).stat().st_mtime_ns for name in kept} == kept
    assert check(dest).problems == []
    notes = after.account["notes"]
    assert notes[0] == "grown by 7 to 17, in new shards after the 3 old ones"
    assert notes[1] == "new classes, numbered after the others: ant"
    url = f"{dest}/shard-{{000000..000002}}.tar"
    assert f"data.url={url}" in notes[2]
    assert ShardDataset(url).index.fingerprint == before.fingerprint != after.fingerprint
    again = pack(source, dest, **OPTIONS)
    assert again.fingerprint == after.fingerprint
    add(source, "ant/30.png")
    last = pack(source, dest, **OPTIONS)
    assert last.earlier == {before.fingerprint: 3, after.fingerprint: 5} and len(last) == 18


def test_a_source_that_has_lost_an_image_does_not_grow(source, tmp_path):
    pack(source, tmp_path / "d", **OPTIONS)
    (source / "bee" / "01.png").unlink()
    add(source, "dog/20.png")
    with pytest.raises(UserError, match=r"of which 1 of 10 images are gone or have changed since, and 1 are new"):
        pack(source, tmp_path / "d", **OPTIONS)
    with pytest.raises(UserError, match=r"size 4 there, 8 here"):
        pack(source, tmp_path / "d", **{**OPTIONS, "size": 8})


@pytest.mark.parametrize("step", ["shards", "arrays"])
def test_growth_that_was_cut_short_goes_on(source, tmp_path, step, monkeypatch):
    dest, whole = tmp_path / "d", tmp_path / "whole"
    for folder in (dest, whole):
        pack(source, folder, **OPTIONS)
    before = colours(dest)
    add(source, *(f"bee/{i}.png" for i in range(20, 26)))
    expected = pack(source, whole, **OPTIONS)

    def cut(*arguments, **_):
        if step == "arrays":  # samples.npy is written, index.json is not
            np.save(dest / "samples.npy", arguments[4])
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, "write_index", cut)
    with pytest.raises(KeyboardInterrupt):
        pack(source, dest, **OPTIONS)
    monkeypatch.undo()
    if step == "shards":
        assert colours(dest) == before
    add(source, "dog/40.png")
    found = pack(source, dest, **OPTIONS)
    assert len(found) == len(expected) + 1 and colours(dest)[:10] == before and check(dest).problems == []
    assert found.earlier == expected.earlier


@pytest.mark.slow
@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(0, 60), st.integers(1, 5))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_old_shards_of_a_grown_dataset_are_the_same_stream(source, tmp_path_factory, grown, start, batch):
    """However often it grew, wherever a run goes on."""
    folder = tmp_path_factory.mktemp("grown")
    copytree(source, folder / "s")
    pack(folder / "s", folder / "d", **OPTIONS)
    before = shown(str(folder / "d"), start, batch)
    for number, more in enumerate(grown):
        add(folder / "s", *(f"cat/{number}{i:02}.png" for i in range(more)))
        pack(folder / "s", folder / "d", **OPTIONS)
    old = f"{folder}/d/shard-{{000000..000002}}.tar"
    assert shown(old, start, batch) == before != shown(str(folder / "d"), start, batch)


def shown(url, start, batch):
    """The images and classes of three epochs of ten images, from somewhere on."""
    dataset = ShardDataset(url)
    phase = Phase(0, dataset.image, batch)
    loader = iter(BatchLoader(dataset, plan=lambda _: phase, seed=3, start=start, threads=1))
    batches = [next(loader) for _ in range(-(-30 // batch))]
    return [(images[:, 0, 0, 0].tolist(), labels.tolist()) for images, labels in batches]


def test_a_run_goes_on_with_the_old_shards_or_takes_the_new(source, tmp_path):
    dest = tmp_path / "d"
    before = pack(source, dest, **OPTIONS).fingerprint
    add(source, "dog/20.png")
    pack(source, dest, **OPTIONS)
    dataset = ShardDataset(dest)
    with pytest.raises(UserError, match="has grown by 1 shards since the checkpoint; go on with the old ones") as error:
        check_growth(str(dest), dataset, before, ["model.*"])
    old = next(word.rstrip(",") for word in str(error.value).split() if word.startswith("data.url="))
    assert ShardDataset(old.removeprefix("data.url=")).index.fingerprint == before
    check_growth(str(dest), dataset, before, ["data.fingerprint"])
    check_growth(str(dest), dataset, before, ["data"])
    check_growth(str(dest), dataset, dataset.fingerprint, [])
