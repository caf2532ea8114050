"""The command line: what a person sees who got something wrong, samples and exports, real processes and signals."""

import ast
import errno
import fcntl
import hashlib
import json
import os
import pty
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_runs as runs
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from repository import REPOSITORY
from safetensors.torch import load_file
from test_run import assert_same_weights
from wandb_reader import offline_runs

import ganlab
from ganlab.callbacks.wandb_run import id_of
from ganlab.cli import main, told
from ganlab.data.format.shards import Index
from ganlab.experiment.checkpoints import found
from ganlab.experiment.checkpoints import read as read_checkpoint
from ganlab.experiment.launch import meeting
from ganlab.locks import held
from ganlab.types import UserError


@pytest.fixture
def config(tmp_path, dataset):
    return runs.write_config(tmp_path, dataset)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, for a test to change."""
    return shutil.copytree(finished, tmp_path / "copy")


# --- mistakes: exit code 2, one message with place, value and remedy, no traceback, nothing written


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    return runs.pack_noise(tmp_path_factory.mktemp("unlabelled"), classes=0, images=8, channels=3)


@pytest.fixture(scope="module")
def unindexed(tmp_path_factory):
    folder = runs.pack_noise(tmp_path_factory.mktemp("unindexed"), classes=0, images=8)
    (folder / "index.json").unlink()
    return folder


TWO_PROCESSES = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}
OF_THE_BATCH = (
    "model={_target_: ganlab.models.GANModule, objective: {_target_: ganlab.objectives.MMD}, "
    "generator: {_target_: ganlab.networks.dcgan.Generator, width: 4, norm_group: 4}, "
    "discriminator: {_target_: ganlab.networks.dcgan.Discriminator, width: 4, norm_group: 4}, optimizers: "
    "{generator: {_target_: torch.optim.Adam}, discriminator: {_target_: torch.optim.Adam}}}"
)
"""A game whose loss compares the samples of a batch."""

MISTAKES = {
    "wrong key": (["train.bath=1"], {}, "tiny.yaml: 1 complaint\n  train.bath: unknown key; did you mean 'batch'?"),
    "wrong type": (
        ["train.batch=1e1"],
        {},
        "tiny.yaml: 1 complaint\n  train.batch: 10.0 is not a whole number or null; write 10",
    ),
    "no data": (
        ["data.url=none/here"],
        {},
        "none/here: no such folder; pack one with `ganlab data pack SOURCE none/here",
    ),
    "no index": (
        ["data.url={unindexed}"],
        {},
        "shards: shards without index.json, .* finish with the same `ganlab data pack`",
    ),
    "resolution": (
        ["data.image={height: 32, width: 32, channels: 1, classes: 3}"],
        {},
        "shards: its images are 16x16, 1 channel, 3 classes, but the config declares data.image as 32x32, 1 channel, "
        "3 classes; pack the data again, or change data.image",
    ),
    "channels": (
        ["data.image={height: 16, width: 16, channels: 3, classes: 3}"],
        {},
        "its images are 16x16, 1 channel, 3 classes, but the config declares data.image as 16x16, 3 channels",
    ),
    "no labels": (["data.url={unlabelled}"], {}, "needs labels and the data have none; set model.conditional=false"),
    "ranks": (
        ["train.batch=32"],
        {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"},
        r"train.batch: 32 images cannot be shared by 3 processes in groups of 4 \(train.group\); "
        "write a multiple of 12, for example 24",
    ),
    "compiled batch norm": (
        ["machine.compile=true"],
        TWO_PROCESSES,
        "machine.compile: true, but a batch norm is over all 2 processes; write model.batch_norm_group=4, or",
    ),
    "compiled loss of the batch": (
        [OF_THE_BATCH, "machine.compile=true"],
        TWO_PROCESSES,
        "machine.compile: true, but the loss compares the samples of all 2 processes; write machine.compile=false",
    ),
    "micro-batches of the batch": (
        [OF_THE_BATCH, "train.micro_batch=8"],
        {},
        "train.micro_batch: 8, but the loss compares all samples of a batch; write null, or a smaller train.batch",
    ),
    "negative weight": (
        ["model.regularizers={r1: {_target_: ganlab.regularizers.R1, weight: -1}}"],
        {},
        "model.regularizers.r1.weight: -1.0: must not be negative",
    ),
    "early end": (
        [
            "model.regularizers={r1: {_target_: ganlab.regularizers.R1, weight: {_target_: ganlab.schedules.Linear, "
            "from_nimg: 1000, until_nimg: 10}}}"
        ],
        {},
        "until_nimg: 10 is not after from_nimg, 1000",
    ),
    "groups": (["train.batch=6"], {}, "train.batch: 6 .* in groups of 4 .* write a multiple of 4, for example 4"),
    "generator's batch": (
        ["model={_target_: ganlab.models.SNGAN, generator_width: 4, discriminator_width: 4, generator_batch: 1.4}"],
        {},
        r"generator: a batch of 67, 1.4 times the 48 reals of train.batch, cannot be shared by 1 process in groups of "
        r"4 \(train.group\); choose a ratio \(model.generator_batch\) that gives a multiple of 4",
    ),
    "learning rate": (["model.lr=-1"], {}, "model: the optimizer of the discriminator: Invalid learning rate: -1.0"),
    "width below 0": (
        ["model.width=-4"],
        {},
        "ganlab.models.DCGAN: cannot be made with width=-4, .*: Trying to create tensor with negative dimension",
    ),
    "no latents": (
        ["model.latent=0", "model.conditional=false"],
        {},
        r"model: weights without numbers: generator.* \[0, .*\]; make every width and `latent` at least 1",
    ),
    "micro-batch": (["train.micro_batch=6"], {}, "train.micro_batch: 6 is no multiple of train.group, 4"),
    "not writable": (
        ["run={file}/run"],
        {},
        "file/run: cannot write there: Not a directory; name another folder with run=PATH",
    ),
    "a file": (["run={file}"], {}, "file: cannot write there: .*; name another folder with run=PATH"),
    "no model": (
        ["model={_target_: ganlab.networks.dcgan.Generator}"],
        {},
        "model._target_: 'ganlab.networks.dcgan.Generator' is not for this place, which takes classes of ganlab.engine "
        "and ganlab.models",
    ),
    "no key": (
        ["--allow-change", "train.bath"],
        {},
        "--allow-change train.bath: is no key .*; did you mean 'train.batch'",
    ),
    "no config": (["--machine", "none.yaml"], {}, "none.yaml: No such file or directory; give the path of a YAML file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_and_nothing_is_written(config, tmp_path, monkeypatch, unlabelled, unindexed, mistake):
    overrides, environment, message = MISTAKES[mistake]
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    places = {"{unlabelled}": unlabelled, "{unindexed}": unindexed, "{file}": tmp_path / "file"}
    words = [re.sub(r"^(.*=)({\w+})", lambda at: at[1] + str(places[at[2]]), word) for word in overrides]
    before = sorted(path.name for path in tmp_path.iterdir())
    assert re.search(message, runs.refused("train", config, "run=run", *words))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("verb", [["sample"], ["data", "check"], ["evaluate", "runs/a", "--data"]])
def test_an_empty_path_of_a_variable_that_is_not_set_is_not_this_folder(verb):
    result = CliRunner().invoke(main, [*verb, ""])
    assert result.exit_code == 2 and re.search("Invalid value for '.*': is empty; write . for this", result.output)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(config, tmp_path):
    run = tmp_path / "run"
    said = runs.refused("train", config, f"run={run}", "machine.device=cuda")
    assert said == "machine.device: cuda, but torch sees no GPU here; write machine.device=cpu, or auto\n"
    assert not run.exists()


def test_debug_shows_the_traceback_and_ends_the_same(config):
    result = CliRunner().invoke(main, ["train", str(config), "train.bath=1", "--debug"])
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr and "from_dict" in result.stderr
    assert "ganlab: " in result.stderr.splitlines()[-2]


@pytest.mark.slow
def test_a_checkpoint_of_another_config_is_told_key_by_key(finished):
    before = runs.files(finished)
    config, other = (
        finished.parent / "tiny.yaml",
        [f"run={finished}", "seed=1", "model.width=16", "model.regularizers.r1=null"],
    )
    assert runs.refused("train", config, *other) == (
        f"{finished}/checkpoints/nimg-000000000480.ckpt: is of another config:\n"
        "  model.width: 8 in the checkpoint, 16 now\n"
        "  model.regularizers.r1._target_: 'ganlab.regularizers.R1' in the checkpoint, null now\n"
        "  model.regularizers.r1.weight: 0.5 in the checkpoint, null now\n"
        "  model.regularizers.r1.every: 1 in the checkpoint, null now\n"
        "  seed: 0 in the checkpoint, 1 now\n"
        "name another folder with run=PATH, or allow a change with --allow-change model.width\n"
    )
    still = runs.refused("train", config, *other, "--allow-change", "model.*")
    assert "seed: 0 in the checkpoint, 1 now" in still and "width" not in still
    assert runs.files(finished) == before


def test_a_dataset_packed_anew_is_noticed(copy, finished, tmp_path):
    other = runs.pack_noise(tmp_path, classes=3, images=200)
    words = ["train", finished.parent / "tiny.yaml", f"run={copy}", f"data.url={other}", "--allow-change", "data.url"]
    assert re.search(r"  data.fingerprint: '\w+' in the checkpoint, '\w+' now\n", runs.refused(*words))


def test_a_change_that_no_checkpoint_can_follow(copy, finished):
    words = ["train", finished.parent / "tiny.yaml", f"run={copy}", "model.width=16", "--allow-change", "model.width"]
    said = runs.refused(*words)
    assert (
        "does not fit the model: generator.layers.0.weight: [11, 16, 4, 4] in the checkpoint, [11, 32, 4, 4] now"
        in said
    )


def test_what_may_change_goes_on_and_so_does_what_is_allowed(copy, finished):
    config = finished.parent / "tiny.yaml"
    free = ["train.total_nimg=528", "train.tick_nimg=7", "train.keep_checkpoints=9", "machine.decode_threads=2"]
    assert "done: 528 images" in runs.done(config, f"run={copy}", *free, "logging.project=p")
    assert len(found(copy / "checkpoints")) == 3
    said = runs.done(config, f"run={copy}", "train.total_nimg=576", "seed=1", "--allow-change", "seed")
    assert "resuming from nimg-000000000528.ckpt" in said and "done: 576 images" in said
    assert yaml.safe_load((copy / "config.yaml").read_text())["seed"] == 1


@pytest.mark.slow
def test_the_config_in_a_copied_folder_is_of_the_copy(copy, finished, tmp_path, caplog, monkeypatch):
    first, _ = id_of(copy)
    two, config = shutil.copytree(copy, tmp_path / "two"), Path("two") / "config.yaml"
    before = runs.files(finished), runs.files(copy)
    monkeypatch.chdir(tmp_path)
    assert "two: done: 528 images" in runs.done(config, "train.total_nimg=528")
    assert f"{config}: the run is two, where this config lies, not run: {finished}; for that one write" in caplog.text
    assert (runs.files(finished), runs.files(copy)) == before
    assert yaml.safe_load(config.read_text())["run"] == "two"
    assert id_of(two)[0] != first == id_of(copy)[0]
    caplog.clear()
    assert f"{copy}: done: 528 images" in runs.done(config, "train.total_nimg=528", f"run={copy}")
    monkeypatch.chdir(two)
    assert "where this config lies" not in caplog.text
    assert f"{two}: already done" in runs.done(Path("config.yaml"))


def test_a_damaged_image_met_in_training_names_its_shard(config, dataset, tmp_path):
    damaged = shutil.copytree(dataset, tmp_path / "damaged")
    shard = damaged / "shard-000001.tar"
    data = bytearray(shard.read_bytes())
    data[Index.open(dataset).samples["offset"][150] + 60] ^= 1
    shard.write_bytes(data)
    said = runs.ganlab("train", config, f"run={tmp_path / 'run'}", f"data.url={damaged}", "data.max_bad=0")
    assert said.exit_code == 2
    message = said.stderr.split("ganlab: ")[1]
    assert message.startswith("1 bad samples, more than the 0 that data.max_bad allows:")
    assert re.search(rf"\n  {shard}: 000000150\.png at byte [\d,]+: its crc32 .*\nrun `ganlab data check`", message)


def test_a_second_run_in_a_folder_is_refused_until_the_first_has_ended(config, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with held(run / "lock", "the first", ""):
        said = runs.refused("train", config, f"run={run}", "train.total_nimg=48")
        assert re.match(
            rf"{run}: in use by process {os.getpid()} on \S+ since .* UTC; wait until it ends, stop it", said
        )
        assert [path.name for path in run.iterdir()] == ["lock"]
    runs.done(config, f"run={run}", "train.total_nimg=48")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device; make room"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 2, "x: File name too long; choose a shorter name"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "x: Permission denied; choose a place that"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 1, "Connection reset by peer .--debug"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"), 1, "out of memory: CUDA out.*train.micro_batch"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, None),
        (RuntimeError("ours"), 1, None),
    ],
)
def test_an_error_of_the_system_is_one_message(error, code, message):
    ended, said = told(error)
    assert ended == code and (said is None if message is None else re.match(message, said))


def test_a_port_in_use_is_named(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        with pytest.raises(UserError, match=f"MASTER_PORT: {port}: in use by another program"), meeting():
            torch.distributed.TCPStore("127.0.0.1", port, 2, True)


def test_a_tilde_is_the_home_folder_for_every_verb(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").symlink_to(finished)
    monkeypatch.chdir(tmp_path)
    assert runs.ganlab("sample", "~/run", "-n", 1, "--out", "~/a/grid.png").exit_code == 0
    assert runs.ganlab("export", "~/run", "--out", "~/export").exit_code == 0
    shards = yaml.safe_load((finished / "config.yaml").read_text())["data"]["url"]
    (tmp_path / "shards").symlink_to(shards)
    assert runs.ganlab("evaluate", "~/export", "~/shards", "--metrics", "swd", "-n", 16).exit_code == 0
    assert runs.ganlab("data", "show", "~/shards", "--contact-sheet", "~/sheet.png").exit_code == 0
    assert {"a", "export", "sheet.png"} <= {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "~").exists() and ganlab.load("~/run").sample(1).shape == (1, 1, 16, 16)


@pytest.mark.slow
def test_a_run_is_evaluated_from_anywhere_or_the_reals_are_named(dataset, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "faces").symlink_to(dataset)
    config = runs.write_config(tmp_path, "data/faces")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    runs.done(config, "run=runs/a", "train.total_nimg=48")
    monkeypatch.chdir(tmp_path / "elsewhere")
    words = ["--metrics", "swd", "-n", 16]
    assert runs.ganlab("evaluate", "../runs/a", *words).exit_code == 0
    (tmp_path / "runs" / "a").rename(tmp_path / "runs" / "b")
    assert "name them with --data" in runs.refused("evaluate", "../runs/b", *words)
    assert runs.ganlab("evaluate", "../runs/b", *words, "--data", "../data/faces").exit_code == 0


@pytest.mark.slow
def test_show_tells_how_long_a_run_will_take_where_one_has_been(config, tmp_path, monkeypatch):
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path / "cache"))
    assert "on this machine" not in runs.ganlab("show", config).stdout
    runs.done(config, f"run={tmp_path / 'run'}", "train.tick_nimg=48", "train.total_nimg=144")
    line = runs.ganlab("show", config, "train.total_nimg=4_800_000").stdout.splitlines()[-1]
    assert re.match(r"time +about \d+ (minutes|hours|days) on this machine: [\d,]+ images/s, [\d.e-]+% of its", line)
    line = runs.ganlab("show", config, "train.total_nimg=4_800_000_000_000_000").stdout.splitlines()[-1]
    assert re.match(r"time +about \d{1,3}(,\d{3})+ years on this machine", line)


def test_a_run_without_a_checkpoint_says_when_the_first_comes(finished, tmp_path):
    shutil.copy(finished / "config.yaml", tmp_path)
    assert "has no checkpoint yet: the first one comes after a minute" in runs.refused("sample", tmp_path)


# --- show, sample, export, load


def test_show_tells_the_plan(config, dataset):
    result = runs.ganlab("show", config, "train.total_nimg=4_800", "run=there")
    assert result.exit_code == 0
    resolved = yaml.safe_load(result.stdout.split("# images")[0])
    assert resolved["train"]["total_nimg"] == 4800 and resolved["machine"]["precision"] == "fp32"
    tables = result.stdout.split("# images: ")[1]
    assert tables.startswith("16x16, 1 channel, 3 classes, 240 of them\n")
    assert re.search(r"layers\.0 +ConvTranspose2d +16x4x4 +2,816\n", tables)  # (8 latents + 3 classes) x 16 x 4 x 4
    assert re.findall(r" total +([\d,]+)\n", tables) == ["5,040", "3,232"]
    for line in (
        "images      4,800, 20.0 times each of 240",
        "batch       48 over 1 process, 48 at a time",
        "steps       100 of the discriminator",
        "steps       100 of the generator",
        "a tick      every 100 images",
        "a grid      every 240 images",
        "checkpoint  every 144 images, the newest 2 kept",
        "compiled    nothing",
        "run folder  there",
    ):
        assert line in tables


@pytest.mark.slow
def test_show_names_what_is_compiled(dataset, tmp_path):
    config = runs.write_config(tmp_path, dataset)
    penalties = "model.regularizers={r1: {every: 2}, r2: {_target_: ganlab.regularizers.R2, weight: 1, every: 3}}"
    said = runs.ganlab("show", config, "machine.compile=true", penalties).stdout
    kinds = ("", " with r1", " with r1 and r2", " with r2")
    names = ", ".join([*(f"the discriminator's{kind}" for kind in kinds), "the generator's"])
    assert f"compiled    the losses, each as one graph: {names}\n" in said


def test_a_grid_has_eight_columns_and_its_images_are_those_of_load(finished, tmp_path):
    out = tmp_path / "new" / "grid.png"
    result = runs.ganlab("sample", finished, "-n", 20, "--seed", 3, "--out", out)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert result.stderr == "of seed 3: images 0-19, row by row, 8 in each\n"
    grid = np.array(Image.open(out))
    assert grid.shape == (3 * 50 + 2, 8 * 50 + 2, 3)
    images = ganlab.load(finished).sample(20, seed=3)
    assert images.shape == (20, 1, 16, 16) and images.dtype == torch.uint8
    for number, image in enumerate(images[:, 0].numpy()):
        row, column = divmod(number, 8)
        cell = grid[2 + row * 50 : 50 + row * 50 : 3, 2 + column * 50 : 50 + column * 50 : 3, 0]
        assert (cell == image).all(), number
    assert not (grid[102:, 202:] != 255).any()  # the last row is not full
    assert len({image.tobytes() for image in images.numpy()}) == 20


def test_labels_have_a_row_of_the_grid_each(finished, tmp_path):
    out = tmp_path / "grid.png"
    said = runs.ganlab("sample", finished, "-n", 5, "--labels", "2,0", "--out", out).stderr
    assert said == "of seed 0: row r, column c, counted from 0, is image r + 2c; rows: 2, 0\n"
    grid = np.array(Image.open(out))
    assert grid.shape == (2 * 50 + 2, 3 * 50 + 2, 3)
    images = ganlab.load(finished).sample(5, labels=[2, 0])[:, 0].numpy()
    for row, column, image in ((0, 0, 0), (0, 1, 2), (0, 2, 4), (1, 0, 1), (1, 1, 3)):
        cell = grid[2 + row * 50 : 50 + row * 50 : 3, 2 + column * 50 : 50 + column * 50 : 3, 0]
        assert (cell == images[image]).all(), (row, column)
    assert (grid[52:, 102:] == 255).all()  # the class with fewer samples
    assert runs.ganlab("sample", finished, "-n", 9, "--labels", "1", "--out", out).exit_code == 0
    assert Image.open(out).size == (8 * 50 + 2, 2 * 50 + 2)


def test_each_writes_a_file_for_every_image_the_same_for_any_number(finished, tmp_path):
    for n in (5, 70):
        assert (
            runs.ganlab("sample", finished, "-n", n, "--seed", 1, "--each", "--out", tmp_path / f"{n}").exit_code == 0
        )
    names = [f"{number:06d}.png" for number in range(70)]
    assert sorted(path.name for path in (tmp_path / "70").iterdir()) == names
    assert sorted(path.name for path in (tmp_path / "5").iterdir()) == names[:5]
    for name in names[:5]:
        assert (tmp_path / "5" / name).read_bytes() == (tmp_path / "70" / name).read_bytes()
    assert Image.open(tmp_path / "70" / names[69]).size == (16, 16)
    expected = ganlab.load(finished).sample(70, seed=1)[69, 0].numpy()
    assert (np.array(Image.open(tmp_path / "70" / names[69])) == expected).all()


def test_one_image_has_a_name(finished, tmp_path):
    images = ganlab.load(finished).sample(70, seed=4)
    assert torch.equal(ganlab.load(finished).sample([65, 3, 65], seed=4), images[[65, 3, 65]])
    words = ["sample", finished, "--seed", 4, "--images", "3,64-66,64", "--out"]
    result = runs.ganlab(*words, tmp_path / "each", "--each")
    assert result.stderr.endswith("\nof seed 4: images 3,64-66, each in a file of its number\n")
    for number in (3, 64, 65, 66):
        assert (np.array(Image.open(tmp_path / "each" / f"{number:06d}.png")) == images[number, 0].numpy()).all()
    assert len(list((tmp_path / "each").iterdir())) == 4
    assert runs.ganlab(*words, tmp_path / "grid.png").stderr.endswith("images 3,64-66, row by row, 4 in each\n")
    assert (np.array(Image.open(tmp_path / "grid.png"))[2:50:3, 52:100:3, 0] == images[64, 0].numpy()).all()


def test_labels_are_repeated(finished):
    model = ganlab.load(finished)
    mixed, twos = model.sample(6, seed=0, labels=[0, 2]), model.sample(6, seed=0, labels=[2])
    assert torch.equal(mixed[1::2], twos[1::2]) and not torch.equal(mixed[::2], twos[::2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "1,3,-1"], "labels: 3, -1: no such class; write numbers from 0 to 2"),
        (["--labels", "one"], "labels: one: no such class; write numbers from 0 to 2"),
        (["--images", "3-"], "--images: '3-': write numbers and ranges with commas between them, such as 37,40-45"),
        (["--images", "5-3"], "--images: '5-3': write numbers and ranges"),
        (["--out", "{file}/grid.png"], "file/grid.png: cannot write there: .*; choose another place with --out"),
        (["--out", "{file}.jpg"], "file.jpg: pictures are written as PNG; name it .*/file.png\n"),
        (["--out", "{file}", "--each"], "file: cannot write there: .*; choose another place with --out"),
    ],
)
def test_a_sample_that_cannot_be(finished, tmp_path, words, message):
    (tmp_path / "file").write_text("")
    before = runs.files(finished)
    result = runs.ganlab("sample", finished, *(word.replace("{file}", str(tmp_path / "file")) for word in words))
    assert result.exit_code == 2 and re.search(message, result.stderr)
    assert runs.files(finished) == before


def test_labels_for_a_model_without_classes(config, tmp_path):
    runs.done(config, f"run={tmp_path / 'run'}", "model.conditional=false", "train.total_nimg=48")
    said = runs.refused("sample", tmp_path / "run", "--labels", "0")
    assert said == "labels: this generator takes none; it was trained without classes\n"


@pytest.mark.parametrize("verb", [["sample"], ["export", "--out", "e"]])
def test_a_folder_that_is_no_run(tmp_path, verb):
    for folder in (tmp_path, tmp_path / "none"):
        said = runs.refused(*verb, folder)
        assert said == f"{folder}: holds no checkpoint; give the folder of a run, such as runs/digits-dcgan\n"


def test_an_export_gives_the_same_pixels_and_holds_nothing_that_could_run(finished, tmp_path):
    out = tmp_path / "deep" / "export"
    assert runs.ganlab("export", finished, "--out", out).exit_code == 0
    names = ["README.md", "config.yaml", "generator.safetensors", "samples.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert Image.open(out / "samples.png").size == (21 * 50 + 2, 3 * 50 + 2)  # a row for each class
    assert yaml.safe_load((out / "config.yaml").read_text()) == {
        "model": {"_target_": "ganlab.models.DCGAN", "width": 8, "latent": 8}
        | {"conditional": True, "conditioning": "projection", "batch_norm_group": None},
        "data": {"image": {"height": 16, "width": 16, "channels": 1, "classes": 3, "class_names": []}},
    }
    assert "exported generator names no reals; give them with --data" in runs.refused("evaluate", out, "-n", 16)
    weights = load_file(out / "generator.safetensors")
    average = read_checkpoint(finished / "checkpoints" / "nimg-000000000480.ckpt")["state_dict"]
    assert weights.keys() == {name.removeprefix("ema.") for name in average if name.startswith("ema.")}
    images = ganlab.load(finished).sample(9, seed=5)
    assert torch.equal(ganlab.load(out).sample(9, seed=5), images)
    assert torch.equal(ganlab.load(str(finished)).sample(9, seed=5), images)
    assert not torch.equal(ganlab.load(out).sample(9, seed=6), images)
    assert runs.ganlab("sample", out, "-n", 1).exit_code == 0


def test_an_export_to_a_place_that_cannot_be_written(finished, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file/e: cannot write there" in runs.refused("export", finished, "--out", tmp_path / "file" / "e")


def test_a_run_of_somebodys_own_class_is_loaded_only_with_trust(config, tmp_path, monkeypatch):
    (tmp_path / "their_models.py").write_text("from ganlab.models import DCGAN\nclass Mine(DCGAN): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    run, words = tmp_path / "run", ["model._target_=their_models.Mine", "model.width=8", "train.total_nimg=48"]
    refusal = "'their_models.Mine' is not a trusted target.*; .* write --trust their_models"
    assert re.search(refusal, runs.refused("train", config, f"run={run}", *words))
    runs.done(config, f"run={run}", *words, "--trust", "their_models")
    assert re.search(refusal, runs.refused("train", config, f"run={run}", *words))  # whom it trusts is said anew
    assert "already done" in runs.done(config, f"run={run}", *words, "--trust", "their_models")
    assert re.search(refusal, runs.refused("sample", run))
    assert runs.ganlab("sample", run, "-n", 1, "--trust", "their_models").exit_code == 0
    assert re.search(refusal, runs.refused("export", run, "--out", tmp_path / "e"))
    assert runs.ganlab("export", run, "--out", tmp_path / "e", "--trust", "their_models").exit_code == 0
    for folder in (run, tmp_path / "e"):
        with pytest.raises(UserError, match=refusal):
            ganlab.load(folder)
        assert type(ganlab.load(folder, trust=["their_models"])).__name__ == "Mine"


@pytest.fixture
def evil(copy):
    """A run's folder that somebody sent, with a program in it, as a part."""
    torch.jit.script(torch.nn.Identity()).save(copy / "evil.pt")
    return {"_target_": "ganlab.metrics.features.TorchScriptFeatures", "path": str(copy / "evil.pt")}


def rewritten(run, change):
    """Change the config of a run's newest checkpoint, as somebody could who sends it."""
    path = found(run / "checkpoints")[-1]
    checkpoint = read_checkpoint(path)
    change(checkpoint["config"])
    path.unlink()  # its tensors still lie in the old file
    torch.save(checkpoint, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"sha256": digest}))
    (run / "config.yaml").write_text(yaml.safe_dump(checkpoint["config"]))


@pytest.mark.parametrize("place", ["model.generator", "model.objective", "model.regularizers.r1", "model.augment"])
def test_a_folder_that_was_sent_makes_nothing_but_a_model(copy, evil, place, tmp_path, monkeypatch):
    def change(config):
        config["trust"] = ["ganlab"]
        if place in ("model.generator", "model.objective"):
            config["model"] = {"_target_": "ganlab.models.GANModule", **config["model"]}
        *sections, name = place.split(".")
        for section in sections:
            config = config[section]
        config[name] = evil

    rewritten(copy, change)
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("a program was loaded"))
    for words in (["sample", copy], ["export", copy, "--out", tmp_path / "e"], ["evaluate", copy, "-n", 16]):
        said = runs.refused(*words)
        assert f"{place}" in said and ("is not for this place" in said or "unknown key" in said), said
    with pytest.raises(UserError, match=r"is not for this place|unknown key"):
        ganlab.load(copy)


def test_the_extractor_of_a_folder_that_was_sent_is_not_made(copy, evil, caplog, monkeypatch):
    rewritten(copy, lambda config: config["evaluation"].update(extractor=evil))
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("a program was loaded"))
    assert ganlab.load(copy).sample(2).shape == (2, 1, 16, 16)
    assert "fid: needs an extractor" in runs.refused("evaluate", copy, "-n", 16)
    assert "evaluation.extractor: not made, since it may be any program" in caplog.text
    assert "--trust ganlab.metrics.features" in caplog.text


# --- real processes

HELP = """
import sys
from click.testing import CliRunner
from ganlab.cli import main, told

def commands(group, path=()):
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))

told = {}
for path in commands(main):
    result = CliRunner().invoke(main, [*path, "--help"])
    told[" ".join(path)] = (result.exit_code, result.output)
print((told, sorted(sys.modules)))
"""


def test_help_answers_without_torch():
    output = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True).stdout
    told, modules = ast.literal_eval(output)
    assert told.keys() >= {"", "train", "show", "sample", "export", "data", "data pack", "data check"}
    for command, (code, text) in told.items():
        assert code == 0 and f"Usage: main {command}".rstrip() in text, command
        if command not in ("", "data"):
            assert "--debug" in text, command
    assert "click" in modules
    slow = {"torch", "numpy", "pytorch_lightning", "wandb", "omegaconf", "jaxtyping", "beartype", "webdataset", "PIL"}
    assert slow & set(modules) == set()


def start(*words, **options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return subprocess.Popen(
        [sys.executable, "-m", "ganlab", *map(str, words)], cwd=REPOSITORY, env=environment, text=True, **options
    )


def wait_for_lines(process, file, count):
    """Wait until a run has written so many lines of metrics."""
    deadline = time.monotonic() + 120
    while not file.exists() or file.read_text().count("\n") < count:
        assert process.poll() is None and time.monotonic() < deadline, process.poll()
        time.sleep(0.01)


def test_ctrl_c_while_python_imports_the_command_line_ends_without_a_traceback(tmp_path):
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    ended = subprocess.run(
        [sys.executable, "-m", "ganlab"], cwd=REPOSITORY, env={"PYTHONPATH": str(tmp_path)}, capture_output=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_at_start_up_ends_as_a_scheduler_understands_it(config, tmp_path, number):
    process = start("train", config, f"run={tmp_path / 'run'}", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    status = Path(f"/proc/{process.pid}/status")
    while not int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16) >> (number - 1) & 1:
        assert process.poll() is None
        time.sleep(0.01)  # until it is caught: torch is imported then
    process.send_signal(number)
    assert process.communicate(timeout=60) == (
        "",
        f"ganlab: stopped by {number.name} with nothing to save; the same command goes on\n",
    )
    assert process.returncode == 75 and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights_with_the_same_wandb_id(config, tmp_path):
    run, words = tmp_path / "run", ["train.total_nimg=4800", "train.tick_nimg=48", "train.checkpoint_every_nimg=960"]
    wandb = ["logging.wandb=offline"]
    process = start("train", config, f"run={run}", *words, *wandb, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_lines(process, run / "metrics.jsonl", random.Random(0).randrange(25, 75))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    seen = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["nimg"]
    saved = int(max((run / "checkpoints").glob("*.ckpt")).stem.removeprefix("nimg-"))
    assert 0 < saved <= seen < 4800
    ran = start("train", config, f"run={run}", *words, *wandb, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, lines = ran.communicate()
    assert ran.returncode == 0 and f"resuming from nimg-{saved:012d}.ckpt" in said and "done: 4,800 images" in said
    # Without a terminal: one plain line a tick, and nothing else but what W&B says.
    told = [line for line in lines.splitlines() if line.startswith("training: ")]
    assert len(told) == (4800 - saved) // 48 and "\r" not in lines and "Traceback" not in lines
    assert "W&B" not in lines
    assert re.fullmatch(
        r"training: 4,800 of 4,800 images \(100%\), [\d,]+ images/s, 0:00 left, "
        r"discriminator -?[\d.]+ generator -?[\d.]+",
        told[-1],
    )
    runs.done(config, f"run={tmp_path / 'straight'}", *words)
    assert_same_weights(run, tmp_path / "straight", 4800)
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["nimg"] for row in metrics] == list(range(48, 4801, 48))
    first, second = offline_runs(run)
    assert first.id == second.id == (run / "wandb" / "run-id.txt").read_text()
    assert second.ended and list(second.values("generator/loss")) == list(range(48, 4801, 48))  # the whole story


def stopped_at(run, name, code):
    """The images at which a run's events say that a signal stopped it; nothing was measured but its checkpoint."""
    saved, stop = (json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()[-2:])
    assert (saved["event"], saved["nimg"]) == ("checkpoint", stop["nimg"])
    assert (stop["event"], stop["signal"], stop["code"]) == ("stop", name, code)
    return stop["nimg"]


@pytest.mark.slow
def test_ctrl_c_saves_and_ends_with_130_and_no_traceback(config, tmp_path):
    run = tmp_path / "run"
    process = start(
        "train", config, f"run={run}", "train.total_nimg=48_000_000", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for_lines(process, run / "metrics.jsonl", 3)
    process.send_signal(signal.SIGINT)
    said, lines = process.communicate(timeout=60)
    assert process.returncode == 130
    nimg = stopped_at(run, "SIGINT", 130)
    assert said == f"{run}: stopped at {nimg:,} images, checkpoint saved; the same command resumes it\n"
    assert (run / "checkpoints" / f"nimg-{nimg:012d}.ckpt").is_file()
    assert all(line.startswith(("training: ", "machine  ", "limit  ", "share  ")) for line in lines.splitlines()), lines


def on_a_terminal(*words):
    """Start a verb on a terminal of 120 columns; return the process, and the file descriptor of what it shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = start(*words, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return process, ours


@pytest.mark.slow
def test_on_a_terminal_a_bar_tells_images_rate_and_losses_and_sigterm_ends_with_75(config, tmp_path):
    run = tmp_path / "run"
    process, ours = on_a_terminal("train", config, f"run={run}", "train.total_nimg=48_000_000")
    screen, told = b"", False
    while True:
        try:
            screen += os.read(ours, 65536)
        except OSError:  # the process has closed its end
            break
        if not told and screen.count(b"generator") >= 3:
            process.terminate()
            told = True
    os.close(ours)
    assert process.wait() == 75
    text = screen.decode()
    line = (
        r"training 0%( \| +\|)?, [\d,]+ of 48,000,000 images, [\d,]+/s, [\d:]+ left, discriminator -?[\d.]+ generator"
    )
    assert re.search(line, text), text
    nimg = stopped_at(run, "SIGTERM", 75)
    assert f"stopped at {nimg:,} images, checkpoint saved" in text and "Traceback" not in text


@pytest.mark.slow
def test_a_run_whose_terminal_is_gone_goes_on(config, tmp_path):
    run = tmp_path / "run"
    process, ours = on_a_terminal("train", config, f"run={run}", "train.total_nimg=48_000_000")
    screen = b""
    while screen.count(b"generator") < 3:
        screen += os.read(ours, 65536)
    os.close(ours)
    wait_for_lines(process, run / "metrics.jsonl", len((run / "metrics.jsonl").read_text().splitlines()) + 3)
    process.terminate()
    assert process.wait() == 75
    stopped_at(run, "SIGTERM", 75)
