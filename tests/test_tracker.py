"""Trackers: what W&B, TensorBoard and a table hold of a run, and that they can fail without failing it."""

import csv
import json
import logging
import shutil
import time
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import tiny_runs as runs
import wandb
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_reader import offline_runs

from ganlab.callbacks import wandb_run
from ganlab.callbacks.table import Table
from ganlab.callbacks.tensorboard import TensorBoard
from ganlab.callbacks.tracker import Trackers
from ganlab.callbacks.wandb_run import WandB, logged_in
from ganlab.experiment import checks

pytestmark = pytest.mark.slow

DEFAULT_HOST = urlsplit(wandb.Settings().base_url).netloc


@pytest.fixture(autouse=True)
def nobody_is_logged_in(tmp_path, monkeypatch):
    wandb.teardown()  # it reads the environment once
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture(scope="module")
def mirrored(dataset, tmp_path_factory):
    """A run that W&B mirrors, stopped at 240 images and resumed."""
    folder = tmp_path_factory.mktemp("mirrored")
    config = runs.write_config(folder, dataset)
    for total in (240, 480):
        runs.done(
            config, f"run={folder / 'run'}", "logging={wandb: offline, project: faces}", f"train.total_nimg={total}"
        )
    return folder / "run"


def test_wandb_holds_every_scalar_of_the_metrics_against_nimg(mirrored):
    lines = [json.loads(line) for line in (mirrored / "metrics.jsonl").read_text().splitlines()]
    first, second = offline_runs(mirrored)
    assert [row["nimg"] for row in lines] == [144, 240, 336, 432, 480]
    for name in lines[0].keys() - {"time"}:
        told = {row["nimg"]: row[name] for row in lines}
        assert second.values(name) == told, name  # a resumed part begins with what was logged before it
        assert first.values(name) == {nimg: told[nimg] for nimg in (144, 240)}, name
    assert list(first.values("generator/loss")) == [144, 240]
    assert first.ended and second.ended


def test_wandb_holds_the_grids_of_samples(mirrored):
    for run, nimg in zip(offline_runs(mirrored), (240, 480), strict=True):
        (image,) = run.values("samples").values()
        assert list(run.values("samples")) == [nimg]
        (copy,) = mirrored.glob(f"wandb/offline-run-*/files/{image['path']}")
        with Image.open(copy) as theirs, Image.open(mirrored / "samples" / f"nimg-{nimg:012d}.png") as ours:
            assert (image["width"], image["height"]) == theirs.size and theirs.tobytes() == ours.tobytes()


def test_wandb_holds_the_config_and_the_same_id_after_a_resume(mirrored):
    first, second = offline_runs(mirrored)
    assert first.id == second.id == (mirrored / "wandb" / "run-id.txt").read_text() and len(first.id) == 8
    assert first.project == second.project == "faces"
    for run, total in ((first, 240), (second, 480)):
        assert run.config["train"]["total_nimg"] == total
        assert run.config["model"]["regularizers"]["r1"]["weight"] == 0.5
        image = {"height": 16, "width": 16, "channels": 1, "classes": 3, "class_names": []}
        assert run.config["data"]["image"] == image


def test_wandb_is_told_no_secret_of_a_url(tmp_path):
    url = "https://me:hunter2@data.lab.org/faces-{000..009}.tar?X-Amz-Signature=c0ffee"
    WandB(tmp_path, "offline", "p", {"data": {"url": url}, "evaluation": {"data": [f"s3://{url[8:]}"]}}).finish()
    (run,) = offline_runs(tmp_path)
    place = "data.lab.org/faces-{000..009}.tar"
    assert run.config["data"] == {"url": f"https://{place}"} and run.config["evaluation"] == {"data": [f"s3://{place}"]}
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not [secret for secret in (b"hunter2", b"c0ffee") if secret in written]


def test_two_runs_have_two_ids(tmp_path):
    ids = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        WandB(tmp_path / name, "offline", "p", {}).finish()
        ids.add((tmp_path / name / "wandb" / "run-id.txt").read_text())
    assert len(ids) == 2


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def mirror_id(folder):
    WandB(folder, "offline", "p", {}).finish()
    return (folder / "wandb" / "run-id.txt").read_text()


def test_a_moved_folder_keeps_its_id_and_a_copy_gets_its_own(tmp_path, caplog):
    (tmp_path / "one").mkdir()
    first = mirror_id(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    assert mirror_id(tmp_path / "one") == first and warnings(caplog) == []
    second = mirror_id(tmp_path / "copy")
    assert second != first and f"copy is a copy of {tmp_path / 'one'}" in caplog.text
    (tmp_path / "one").rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    assert mirror_id(tmp_path / "moved") == mirror_id(tmp_path / "link") == first
    assert mirror_id(tmp_path / "copy") == second and len(warnings(caplog)) == 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WANDB_MODE", "", ""),
        ("WANDB_BASE_URL", "", ""),
        ("WANDB_MODE", "bogus", "W&B is offline: it refuses WANDB_MODE=bogus"),
        ("WANDB_BASE_URL", "localhost:8080", "W&B is offline: it refuses WANDB_BASE_URL=localhost:8080"),
    ],
)
def test_a_setting_that_wandb_refuses_makes_the_run_offline(tmp_path, monkeypatch, caplog, name, value, said):
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40 if said else "")
    mirror = WandB(tmp_path, None, "p", {})
    mirror.log(7, {"x": 1.5})
    mirror.finish()
    (run,) = offline_runs(tmp_path)
    assert run.values("x") == {7: 1.5} and warnings(caplog) == [said] * bool(said)


@pytest.mark.parametrize("way", ["config", "environment"])
def test_disabled_is_no_wandb_at_all(tmp_path, monkeypatch, way):
    if way == "environment":
        monkeypatch.setenv("WANDB_MODE", "disabled")
    mirror = WandB(tmp_path, "disabled" if way == "config" else None, "p", {})
    mirror.log(1, {"x": 1.0})
    mirror.finish()
    assert mirror.run is None and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [None, "offline", "online"])
def test_who_is_not_logged_in_gets_an_offline_run_and_no_question(tmp_path, caplog, mode):
    mirror = WandB(tmp_path, mode, "p", {})
    assert mirror.run.settings.mode == "offline"
    assert ("W&B is offline: nobody is logged in" in caplog.text) == (mode == "online")
    mirror.log(7, {"x": 1.5})
    mirror.finish()
    (run,) = offline_runs(tmp_path)
    assert run.values("x") == {7: 1.5}


@pytest.mark.parametrize(
    ("netrc", "environment", "expected"),
    [
        (None, {}, False),
        ("", {}, False),
        ("machine api.wandb.ai login user password k", {}, True),
        ("machine api.github.com login user password k", {}, False),
        ("machine wandb.lab.org login user password k", {}, False),
        ("machine wandb.lab.org login user password k", {"WANDB_BASE_URL": "https://wandb.lab.org"}, True),
        ("machine wandb.lab.org:80 login user password k", {"WANDB_BASE_URL": "http://wandb.lab.org:80"}, True),
        ("machine api.wandb.ai login user password k", {"WANDB_BASE_URL": "https://wandb.lab.org"}, False),
        (f"machine {DEFAULT_HOST} login user password k", {}, True),
        ("machine api.wandb.ai login user", {}, False),
        ("not a netrc", {}, False),
        (None, {"WANDB_IDENTITY_TOKEN_FILE": "token"}, True),
        (None, {"WANDB_API_KEY": "k"}, True),
        (None, {"WANDB_API_KEY": ""}, False),
    ],
)
def test_who_is_logged_in(tmp_path, monkeypatch, netrc, environment, expected):
    if netrc is not None:
        (tmp_path / "netrc").write_text(netrc)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert logged_in() is expected


def test_a_server_that_does_not_answer_costs_a_moment_and_the_run_is_kept_offline(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert wandb_run.INIT_SECONDS <= 30 and wandb_run.FINISH_SECONDS <= 60
    monkeypatch.setattr(wandb_run, "INIT_SECONDS", 1)
    start = time.monotonic()
    mirror = WandB(tmp_path, None, "p", {"seed": 3})  # a key, so online
    assert time.monotonic() - start < 20
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("W&B (online) cannot begin: ") and "127.0.0.1:9" in warning
    mirror.log(7, {"x": 1.5})
    mirror.finish()
    (run,) = offline_runs(tmp_path)
    assert run.values("x") == {7: 1.5} and run.config["seed"] == 3
    assert run.id == (tmp_path / "wandb" / "run-id.txt").read_text()


def test_a_wandb_folder_that_cannot_be_written_fails_nothing(tmp_path, caplog):
    (tmp_path / "wandb").write_text("a file")
    mirror = WandB(tmp_path, "offline", "p", {})
    mirror.log(1, {"x": 1.0})
    mirror.finish()
    assert mirror.run is None and "W&B (offline) cannot begin" in caplog.text


def test_a_picture_that_is_gone_fails_nothing(tmp_path, caplog):
    mirror, table = WandB(tmp_path, "offline", "p", {}), Table(tmp_path)
    trackers = Trackers([mirror, table])
    picture: Future[Path] = Future()
    picture.set_result(tmp_path / "none.png")
    trackers.begin([])
    trackers.show(1, "samples", picture)
    trackers.log(2, {"x": 1.0})
    trackers.finish()
    assert trackers.trackers == [table] and caplog.text.count("W&B is off from here on") == 1
    mirror.finish()
    assert [run.history for run in offline_runs(tmp_path)] == [[]]
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["nimg,x", "2,1.0"]  # the others go on


def test_a_picture_that_could_not_be_written_turns_no_tracker_off(tmp_path, caplog):
    trackers = Trackers([table := Table(tmp_path)])
    picture: Future[Path] = Future()
    picture.set_exception(OSError(28, "No space left on device"))
    trackers.begin([])
    trackers.show(1, "samples", picture)
    trackers.log(2, {"x": 1.0})
    trackers.finish()
    assert trackers.trackers == [table] and not caplog.records
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["nimg,x", "2,1.0"]


# --- TensorBoard and the table


def scalars(folder):
    """What TensorBoard reads, by name: images shown and value."""
    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    return {
        name: {event.step: pytest.approx(event.value, rel=1e-6) for event in read.Scalars(name)}
        for name in read.Tags()["scalars"]
    }


def test_tensorboard_and_the_table_hold_what_the_run_holds(dataset, tmp_path):
    """Stopped at 240 images, cut back to 144 as after a kill, and resumed."""
    config, run = runs.write_config(tmp_path, dataset), tmp_path / "run"
    more = [f"run={run}", "logging={wandb: disabled, tensorboard: true, csv: true}"]
    runs.done(config, *more, "train.total_nimg=240")
    for file in (run / "checkpoints").glob("nimg-000000000240.*"):
        file.unlink()
    runs.done(config, *more)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = lines[0].keys() - {"nimg", "time"}
    assert [row["nimg"] for row in lines] == [144, 240, 336, 432, 480]
    found = scalars(run)
    assert found.keys() == names
    for name in names:
        assert found[name] == {row["nimg"]: row[name] for row in lines}, name
    with (run / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in table] == [
        {name: value for name, value in row.items() if name != "time"} for row in lines
    ]


def test_tensorboard_holds_the_pictures(tmp_path):
    Image.new("L", (6, 4), 77).save(tmp_path / "grid.png")
    board = TensorBoard(tmp_path)
    board.begin([])
    board.show(480, "samples", tmp_path / "grid.png")
    board.finish()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    (image,) = read.Images("samples")
    assert (image.step, image.width, image.height) == (480, 6, 4)


def test_a_table_has_a_column_for_whatever_comes(tmp_path):
    table = Table(tmp_path)
    table.begin([{"nimg": 1, "x": 2.5}])
    table.log(2, {"x": float("nan")})
    table.log(2, {"fid, of 50": 7.0})
    table.log(3, {"x": 1.0})
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ['nimg,x,"fid, of 50"', "1,2.5,", "2,nan,", "2,,7.0", "3,1.0,"]


def test_tensorboard_that_is_not_installed_is_named(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    config = runs.write_config(tmp_path, dataset)
    said = runs.refused("train", config, f"run={tmp_path / 'run'}", "logging.tensorboard=true")
    assert said == "logging.tensorboard: true, but it is not installed here; pip install 'ganlab[tensorboard]'\n"
    assert not (tmp_path / "run").exists()
