"""Names of classes, from the dataset to the command line, the grids, the export and the metrics."""

import re
import shlex

import numpy as np
import pytest
import tiny_runs as runs
import torch
from PIL import Image
from repository import REPOSITORY

import ganlab
from ganlab.classes import named, names_in, numbers_of, split
from ganlab.data.make.pack import pack
from ganlab.data.read.open import open_data
from ganlab.experiment import checkpoints
from ganlab.experiment.config import from_yaml
from ganlab.pictures.captions import beside, captions_of
from ganlab.types import ImageSpec, UserError

NAMES = ("cat", "red panda", "hawk, red-tailed")


def spec(*names):
    return ImageSpec(8, 8, 1, len(names), names_in(names))


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("cat,red panda", NAMES, [0, 1]),
        ('cat, "hawk, red-tailed" ,cat', NAMES, [0, 2, 0]),
        ("2,cat", NAMES, [2, 0]),
        ("2,0", ("0", "1", "2"), [2, 0]),  # classes without names
        ("20240131", ("7", "20240131"), [1]),  # identifiers: text is a name
        ('"say ""hi""",b', ('say "hi"', "b"), [0, 1]),
    ],
)
def test_text_to_numbers(text, names, expected):
    assert numbers_of(split(text), spec(*names)) == expected


def test_numbers_are_numbers_whatever_the_names_and_names_are_written_as_they_are_read():
    assert numbers_of([1, "7", 0], spec("7", "5")) == [1, 0, 0]
    assert [split(named(k, NAMES)) for k in range(3)] == [[name] for name in NAMES]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (
            ["Cat", "3"],
            NAMES,
            'labels: Cat, 3: no such class; did you mean cat?; the classes are cat, red panda, "hawk, red-tailed"',
        ),
        (split("hawk, red-tailed"), NAMES, 'did you mean "hawk, red-tailed"'),
        (["1"], ("7", "5"), "labels: 1: no such class; the classes are 7, 5"),
        ([3, -1], ("0", "1", "2"), "labels: 3, -1: no such class; write numbers from 0 to 2"),
        (["x"], tuple(f"c{k}" for k in range(1000)), "c18, c19, and 980 more"),
        ([""], NAMES, 'labels: "": no such class'),
    ],
)
def test_unknown_classes(labels, names, message):
    with pytest.raises(UserError, match=re.escape(message)):
        numbers_of(labels, spec(*names))


def test_captions_stand_beside_their_rows():
    sheet = Image.new("RGB", (50, 3 * 60), "red")
    captions = captions_of((*NAMES, "\u732b"), [0, 3, 1])
    assert captions == ["cat", "class 3", "red panda"]  # the font has no letter for the second
    wide = np.array(beside(sheet, captions))
    assert wide.shape[0] == 180 and (wide[:, -50:] == (255, 0, 0)).all()
    left = wide[:, :-50].min(2) < 128
    assert [bool(left[row * 60 + 15 : row * 60 + 45].any()) for row in range(3)] == [True] * 3
    assert not left[50:70].any()  # between the rows
    assert beside(sheet, []) is sheet
    assert np.array(beside(sheet, ["x" * 500] * 3)).shape[1] < 300


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on three named classes of images of 16x32 px."""
    folder = tmp_path_factory.mktemp("named")
    pixels = np.random.default_rng(0).integers(0, 256, (96, 16, 32, 3), np.uint8)
    np.savez(folder / "source.npz", images=pixels, labels=np.arange(96) % 3, class_names=NAMES)
    pack(folder / "source.npz", folder / "shards", size=(16, 32))
    config = runs.write_config(folder, folder / "shards")
    runs.done(config, f"run={folder / 'run'}", "train.total_nimg=96", "train.sample_every_nimg=96")
    return folder / "run"


def test_a_run_keeps_the_names_and_takes_them(trained, tmp_path):
    assert from_yaml(trained / "config.yaml").data.image.class_names == NAMES
    cropped = open_data(str(trained.parent / "shards"), crop=8).image
    assert (cropped, cropped.class_names) == (ImageSpec(8, 8, 3, 3), NAMES)
    model = ganlab.load(trained)
    assert torch.equal(model.sample(4, labels=["red panda", 0]), model.sample(4, labels=[1, 0]))
    words = ["sample", trained, "-n", 6, "--out", tmp_path / "grid.png", "--labels"]
    result = runs.ganlab(*words, '"hawk, red-tailed",cat')
    assert (
        result.stderr == 'of seed 0: row r, column c, counted from 0, is image r + 2c; rows: "hawk, red-tailed", cat\n'
    )
    grid = np.array(Image.open(tmp_path / "grid.png"))
    first = model.sample(1, labels=[2])[0].permute(1, 2, 0).numpy()
    assert grid.shape[1] > 3 * 98 + 2  # the names beside the rows
    assert (grid[2:50:3, -3 * 98 : -3 * 98 + 96 : 3] == first).all()
    assert "did you mean cat?" in runs.refused(*words, "cta")
    (training,) = (trained / "samples").iterdir()
    assert Image.open(training).height == 3 * 50 + 2 and Image.open(training).width > 10 * 98 + 2


def test_an_old_run_without_names_goes_on_with_those_of_the_data(trained, tmp_path):
    saved = checkpoints.read(checkpoints.found(trained / "checkpoints")[-1])
    del saved["config"]["data"]["image"]["class_names"]
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    writer = checkpoints.Writer(2)
    writer.submit(saved, checkpoints.path_at(tmp_path / "run" / "checkpoints", 96))
    writer.wait()
    said = runs.refused("sample", tmp_path / "run", "--labels", "cat")
    assert said == "labels: cat: no such class; write numbers from 0 to 2\n"
    config = trained.parent / "tiny.yaml"
    said = runs.done(config, f"run={tmp_path / 'run'}", "train.total_nimg=144", "train.sample_every_nimg=96")
    assert "resuming from nimg-000000000096.ckpt" in said
    assert ganlab.load(tmp_path / "run").image.class_names == NAMES


def test_a_config_may_name_the_classes(trained, tmp_path):
    config = trained.parent / "tiny.yaml"
    image = "data.image={height: 16, width: 32, channels: 3, classes: 3, class_names: [%s]}"
    words = [f"run={tmp_path / 'run'}", "train.total_nimg=48"]
    assert "data.image.class_names: 2 names for 3 classes" in runs.refused("train", config, *words, image % "a, b")
    assert "two classes have one name" in runs.refused("train", config, *words, image % "a, b, a")
    runs.done(config, *words, image % "a, b, c")
    assert ganlab.load(tmp_path / "run").image.class_names == ("a", "b", "c")


def test_an_export_tells_a_stranger_how_to_use_it(trained, tmp_path, monkeypatch):
    out = tmp_path / "my pets"
    assert runs.ganlab("export", trained, "--out", out).exit_code == 0
    card, config = (out / "README.md").read_text(), (out / "config.yaml").read_text()
    assert "after 96 training images" in card and "16x32 px (height x width), RGB" in card
    assert "2. hawk, red-tailed\n" in card and "![samples](samples.png)" in card
    for private in (str(REPOSITORY), str(trained.parent), "train:", "lr:", "regularizers", "logging"):
        assert private not in config and private not in card
    monkeypatch.chdir(tmp_path)
    commands, code = re.findall(r"^```\w+\n(.*?)^```$", card, re.M | re.S)
    for line in commands.splitlines():
        assert runs.ganlab(*shlex.split(line)[1:]).exit_code == 0, line
    assert len(list((tmp_path / "pictures").iterdir())) == 4 and (tmp_path / "classes.png").exists()
    found = {}
    exec(code, found)
    assert found["images"].shape == (16, 3, 16, 32)
    assert torch.equal(found["images"], ganlab.load(trained).sample(16, labels=["cat"]))


def test_classes_of_one_name_and_two_numbers_are_not_compared(trained, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 16, 32, 3), np.uint8)
    np.savez(tmp_path / "s.npz", images=pixels, labels=np.arange(32) % 2, class_names=["ant", "cat"])
    pack(tmp_path / "s.npz", tmp_path / "other", size=(16, 32))
    toy = tmp_path / "toy.pt"
    torch.jit.script(torch.nn.Identity()).save(toy)
    words = ["evaluate", trained, "--data", tmp_path / "other", "--extractor", toy, "-n", 16, "--metrics"]
    said = runs.refused(*words, "intra_fid")
    assert (
        "other: class 'cat' is number 1 there and 0 of run" in said and "leave out the metrics that need labels" in said
    )
    assert runs.ganlab(*words, "swd").exit_code == 0  # of images that are not square
