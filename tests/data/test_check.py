import dataclasses
import shutil
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ganlab.data.format.shards import Index, write_index
from ganlab.data.make.check import LINES, check
from ganlab.data.make.pack import pack
from ganlab.types import ImageSpec, UserError


def test_a_whole_dataset_has_no_problems(packed, tmp_path):
    report = check(packed)
    assert report.problems == [] and report.samples == 24 and report.counts == {"ant": 8, "bee": 8, "cat": 8}
    assert report.contact_sheet == packed / "contact-sheet.png" and report.contact_sheet.is_file()
    assert report.lines() == [
        f"{packed}: 24 images, 8x8, 3 channels, 3 classes",
        "  ant          8",
        "  bee          8",
        "  cat          8",
        "labels: the names of the sub-folders (ant, bee, cat)",
        f"contact sheet: {packed}/contact-sheet.png",
        "no problems",
    ]
    check(packed, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == report.contact_sheet.read_bytes()


def test_a_flipped_bit_of_an_image_is_named(packed, flip):
    offset, size, crc32, _ = Index.open(packed).samples[12].tolist()
    flip(packed / "shard-000001.tar", offset + size // 2)
    whole_file, image = check(packed).problems
    assert whole_file.startswith("shard-000001.tar: sha256 ")
    assert image.startswith(f"shard-000001.tar, 000000012 at byte {offset:,}: crc32 ")
    assert image.endswith(f"instead of {crc32:08x}")


def test_a_flipped_bit_of_a_header_is_found_and_the_rest_still_read(packed, flip):
    index = Index.open(packed)
    flip(packed / "shard-000000.tar", int(index.samples["offset"][4]) - 500)
    flip(packed / "shard-000000.tar", int(index.samples["offset"][7]))
    hashed, header, image = check(packed).problems
    assert "sha256" in hashed and "000000007" in image and "crc32" in image
    assert f"no valid header at byte {index.samples['offset'][4] - 512:,}" in header


def test_a_flipped_bit_of_a_class_is_found(packed, flip):
    path = packed / "shard-000000.tar"
    flip(path, path.read_bytes().index(b"000000003.cls") + 512)
    offset, _, _, label = Index.open(packed).samples[3].tolist()
    assert f"shard-000000.tar, 000000003 at byte {offset:,}: label {label ^ 1} in the shard, {label} in the index" in (
        check(packed).problems
    )


def test_all_problems_are_told_together(packed, flip):
    (packed / "shard-000000.tar").unlink()
    path = packed / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:4000])
    flip(packed / "shard-000002.tar", int(Index.read(packed).samples["offset"][20]))
    problems = "\n".join(check(packed).problems)
    assert "shard-000000.tar: cannot be read: No such file or directory" in problems
    assert "shard-000001.tar has 4,000 bytes instead of" in problems
    assert "shard-000001.tar: damaged (unexpected end of data)" in problems
    assert "shard-000001.tar, 000000019 at byte" in problems
    assert "shard-000002.tar, 000000020 at byte" in problems
    assert "shard-000002.tar, 000000021" not in problems


def test_a_shard_of_the_same_size_from_another_dataset(photos, packed, tmp_path):
    other = pack(photos, tmp_path / "other", size=8, shard_samples=10, seed=1)
    differing = (other.samples["crc32"] != Index.open(packed).samples["crc32"])[:10].sum()
    shutil.copy(tmp_path / "other" / "shard-000000.tar", packed / "shard-000000.tar")
    problems = check(packed).problems
    assert problems[0].startswith("shard-000000.tar: sha256")
    assert sum("crc32" in problem for problem in problems) == differing > 5


def rewrite(folder, image=None, **columns):
    """Write an index that is whole, but says something else."""
    index = Index.open(folder)
    samples = np.array(index.samples)
    for name, change in columns.items():
        samples[name] = change(samples[name])
    write_index(folder, image or index.image, index.class_names, list(index.shards), samples, dict(index.pack))


def test_an_index_that_disagrees_with_the_shards(packed):
    rewrite(packed, offset=lambda offset: np.where(np.arange(24) == 5, offset + 1, offset))
    (moved, damaged) = check(packed).problems
    assert "000000005 at byte" in moved and "offset" in moved and "in the shard" in moved
    assert "000000005" in damaged and "crc32" in damaged


def test_labels_that_are_no_class(packed):
    rewrite(packed, label=lambda label: np.where(np.arange(24) == 11, 3, label))
    problems = check(packed).problems
    assert "shard-000001.tar, 000000011: label 3, but the index promises 8x8, 3 channels, 3 classes" in problems


def test_a_missing_label_is_named(packed):
    rewrite(packed, label=lambda label: np.where(np.arange(24) == 21, -1, label))
    problems = check(packed).problems
    assert "shard-000002.tar, 000000021: label -1, but the index promises 8x8, 3 channels, 3 classes" in problems


def test_images_of_another_size_than_the_index_says(packed):
    rewrite(packed, image=ImageSpec(16, 16, 3, 3))
    report = check(packed)
    assert len(report.problems) == 24 and all("8x8 pixels instead of 16x16" in problem for problem in report.problems)


def test_only_the_first_problems_are_spelled_out(packed):
    report = dataclasses.replace(check(packed), problems=[f"p{i}" for i in range(LINES + 7)])
    assert report.lines()[-3:] == [f"p{LINES - 1}", "... and 7 more", f"{LINES + 7} problems"]


def test_the_contact_sheet_has_a_row_for_each_class(tmp_path):
    colours = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)
    labels = np.repeat([0, 1, 2], [9, 9, 2])
    images = np.broadcast_to(colours[labels][:, None, None], (20, 48, 48, 3))
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    pack(tmp_path / "a.npz", tmp_path / "d", size=48)
    sheet = np.array(Image.open(check(tmp_path / "d").contact_sheet))
    assert sheet.shape == (3 * 50 + 2, 8 * 50 + 2, 3)
    cells = sheet[26::50, 26::50]
    white = [255, 255, 255]
    assert cells.tolist() == [[[250, 0, 0]] * 8, [[0, 250, 0]] * 8, [[0, 0, 250]] * 2 + [white] * 6]


def test_the_contact_sheet_without_labels(photos, tmp_path):
    pack(photos / "bee", tmp_path / "d", size=8, channels=1)
    report = check(tmp_path / "d")
    assert Image.open(report.contact_sheet).width == 8 * 50 + 2 and report.counts == {}


def test_what_cannot_be_checked_at_all(packed, tmp_path):
    with pytest.raises(UserError, match=r"none/sheet\.png: cannot be written \(No such file or directory\)"):
        check(packed, tmp_path / "none" / "sheet.png")
    (packed / "index.json").unlink()
    with pytest.raises(UserError, match=r"shards without index\.json"):
        check(packed)


@pytest.fixture
def layered(photos, tmp_path):
    """The photos in one shard of 24, with copies of 4 px."""
    pack(photos, tmp_path / "layered", size=8, pyramid=True)
    return tmp_path / "layered"


def test_a_damaged_copy_is_named(layered, flip):
    index = Index.open(layered)
    place = index.place(7, 4)
    flip(layered / "shard-000000.tar", place.offset + place.size // 2)
    hashed, copy = check(layered).problems
    assert "sha256" in hashed
    assert copy.startswith(f"shard-000000.tar, 000000007 (4 px) at byte {place.offset:,}: crc32 ")
    assert copy.endswith(f"instead of {place.crc32:08x}")


def test_copies_that_the_index_puts_elsewhere_or_does_not_know(layered):
    index = Index.open(layered)
    members = np.array(index.members)
    members["offset"][5], members["size"][5], members["crc32"][5] = index.place(5, 8)[2:5]
    arguments = (index.image, index.class_names, list(index.shards), np.array(index.samples), index.pack)
    write_index(layered, *arguments, (4,), members)
    place, size, image = check(layered).problems
    assert "shard-000000.tar, 4 px, 000000005 at byte" in place and "offset" in place and "size" in size
    assert "000000005 (4 px) at byte" in image and "8x8 pixels instead of 4x4" in image
    write_index(layered, *arguments)
    assert check(layered).problems == ["shard-000000.tar: copies of [4] px instead of []"]


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flipped_bit_is_named_and_its_images_too(layered, flip, data):
    index, path = Index.open(layered), layered / "shard-000000.tar"
    whole = path.read_bytes()
    places = [place for height in (4, 8) for place in index.places(np.arange(len(index)), height)]
    byte = data.draw(st.integers(0, len(whole) - 1) | st.sampled_from([place.offset for place in places]))
    flip(path, byte, data.draw(st.integers(0, 7)))
    problems = check(layered, layered / "sheet.png").problems
    path.write_bytes(whole)
    assert problems[0].startswith("shard-000000.tar: sha256")
    hit = [place.offset for place in places if place.offset <= byte < place.offset + place.size]
    assert [f"at byte {offset:,}: crc32" in problems[-1] for offset in hit] == [True] * len(hit)


def test_a_cut_at_every_member_is_named(layered):
    path = layered / "shard-000000.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        cuts = [member.offset for member in tar] + [member.offset_data for member in tar]
    assert len(cuts) == 2 * 3 * 24
    for cut in cuts[::5]:
        path.write_bytes(whole[:cut])
        problems = check(layered, layered / "sheet.png").problems
        assert problems[0] == f"shard-000000.tar has {cut:,} bytes instead of {len(whole):,}"
        lost = sum(offset + size > cut for offset, size, *_ in Index.read(layered).samples.tolist())
        assert sum("crc32" in problem and "(4 px)" not in problem for problem in problems) == lost
        with pytest.raises(UserError, match=f"has {cut:,} bytes instead of"):
            Index.open(layered)
