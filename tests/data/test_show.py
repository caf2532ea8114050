import dataclasses
import zlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from web import serve

from ganlab.cli import main
from ganlab.data.make import bench, show
from ganlab.data.make.bench import Bench
from ganlab.data.make.check import check
from ganlab.data.make.pack import pack
from ganlab.data.read.dataset import ShardDataset
from ganlab.types import UserError


@pytest.fixture
def noise(tmp_path):
    """40 grey images of 16 px in two classes with copies, and their pixels in the order of the shards."""
    pixels = np.random.default_rng(0).integers(0, 200, (40, 16, 16), np.uint8)
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.arange(40) % 2, class_names=["even", "odd"])
    pack(tmp_path / "a.npz", tmp_path / "d", size=16, shard_samples=30, pyramid=True)
    return tmp_path / "d", pixels[np.random.Generator(np.random.PCG64(0)).permutation(40)]


def test_show_counts_measures_and_draws(noise):
    folder, pixels = noise
    lines = list(show.describe(folder))
    index = ShardDataset(folder).index
    assert lines[:3] == [f"{folder}: 40 images, 16x16, 1 channel, 2 classes", "  even         20", "  odd          20"]
    total = sum(path.stat().st_size for path in folder.glob("*.tar")) / 1e6
    assert lines[3] == "labels: `labels` beside the images"
    assert lines[4] == f"shards: 2, of {total:.1f} MB together"
    sizes = index.samples["size"]
    assert f"16 px: {sizes.mean():,.0f} bytes an image, {sizes.min()} to {sizes.max()}, 0.0 MB" in lines
    assert [line.split(" px: ")[0] for line in lines if " px: " in line] == ["4", "8", "16"]
    assert f"mean {pixels.mean():.1f}, deviation {pixels.std():.1f} of 255, by channel, of 40 images" in lines
    assert lines[-1] == f"contact sheet: {folder / 'contact-sheet.png'}"
    cell = np.array(Image.open(folder / "contact-sheet.png"))[
        2:50:3, -400:-352:3
    ]  # 16 px, enlarged by 3, right of the names
    even = pixels[np.flatnonzero(index.samples["label"] == 0)[0]]
    assert (cell.reshape(16, 16, -1)[..., 0] == even).all()


def test_moments_are_by_channel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8) // np.array([1, 2, 4], np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    pack(tmp_path / "a.npy", tmp_path / "d", size=8)
    mean, deviation = (" ".join(f"{v:.1f}" for v in f((0, 1, 2))) for f in (pixels.mean, pixels.std))
    assert f"mean {mean}, deviation {deviation} of 255, by channel, of 9 images" in list(show.describe(tmp_path / "d"))


@pytest.fixture
def served(noise):
    """The URL of the same shards on a web server."""
    with serve(noise[0]) as address:
        yield f"http://{address}/"


def test_shards_on_a_web_server_are_shown_and_checked(noise, served, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    here = [line for line in show.describe(noise[0]) if "contact" not in line]
    there = [line for line in show.describe(served) if "contact" not in line]
    assert here[1:] == there[1:] and (tmp_path / "contact-sheet.png").is_file()
    report = check(served)
    assert report.problems == [] and report.samples == 40 and report.counts == {"even": 20, "odd": 20}


def test_bench_names_every_figure(noise, monkeypatch):
    monkeypatch.setattr(bench, "BATCHES", 2)
    monkeypatch.setattr(bench, "ROUNDS", 2)
    lines = list(bench.bench(str(noise[0]), size=None, threads=2))
    assert lines[0] == f"{noise[0]}: 16x16, 1 channel, 2 classes, from copies of 16 px"
    names = ["first batch", "loader", "ceiling", "share", "read", "check", "decode", "the rest"]
    assert [line[:12].strip() for line in lines[1:]] == names
    assert [line[:12].strip() for line in bench.bench(str(noise[0]), size=2, threads=1)][-2:] == ["resize", "the rest"]


def test_bench_reads_the_copies_that_the_loader_reads(noise):
    dataset = ShardDataset(noise[0])
    for size, stored in ((16, 16), (8, 8), (2, 4)):
        run = Bench(dataset, size, threads=1)
        assert run.image == dataclasses.replace(dataset.image, height=size, width=size)
        assert run.stored == (stored, stored) and len(run.data) == bench.BATCH * bench.BATCHES
        crcs = dataset.index.samples["crc32"] if stored == 16 else dataset.index.members["crc32"][:, stored // 8]
        assert {zlib.crc32(data) for data in run.data} == set(crcs.tolist())
    with pytest.raises(UserError, match="--size 32: the images are of 16x16"):
        Bench(dataset, 32, threads=1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("toy:ring?modes=5", ["modes=5", "Gaussians with centres on a circle", "1x1, 2 channels, 5 classes"]),
        ("toy:gaussian?mean=-1", ["mean -1, deviation 0.", "1x1, 1 channel, no labels"]),
        ("toy:digits?channels=1", ["size=28, channels=1", "28x28, 1 channel, 10 classes"]),
    ],
)
def test_a_toy_is_described_and_has_no_shards(url, said, tmp_path):
    sheet = tmp_path / "sheet.png"
    done = CliRunner().invoke(main, ["data", "show", url, "--contact-sheet", str(sheet)])
    assert done.exit_code == 0 and all(words in done.output for words in said), done.output
    with Image.open(sheet) as picture:
        assert picture.width > 400
    for verb, what in (("check", "check"), ("bench", "read")):
        refused = CliRunner().invoke(main, ["data", verb, url])
        assert refused.exit_code == 2 and f"{url}: is drawn, and has no shards to {what}; " in refused.output


def test_the_commands(noise):
    folder = str(noise[0])
    for command in (["show", folder], ["check", folder, "--repair"]):
        done = CliRunner().invoke(main, ["data", *command])
        assert done.exit_code == 0 and "40 images" in done.output, done.output
    assert CliRunner().invoke(main, ["data", "show", folder + "/none"]).exit_code == 2
