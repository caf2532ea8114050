"""What a run leaves behind, and that it makes no difference how often it was stopped."""

import json
import platform
import re
import shutil
import signal
import threading
from datetime import datetime, timedelta
from functools import partial

import pytest
import tiny
import tiny_runs as runs
import torch
import yaml
from PIL import Image

from ganlab import progress
from ganlab.constraints import WeightClip
from ganlab.engine import signals
from ganlab.engine.dynamics import Simultaneous
from ganlab.experiment import checks
from ganlab.experiment.checkpoints import found
from ganlab.experiment.checkpoints import read as read_checkpoint
from ganlab.experiment.config import differences, from_yaml, load
from ganlab.experiment.records import cut_after, read_lines
from ganlab.files import atomic_write
from ganlab.progress import Progress, progress_line
from ganlab.schedules import Linear
from ganlab.types import UserError

CADENCES = ("tick_nimg", "sample_every_nimg", "checkpoint_every_nimg")
NAMES = ("data", "discriminator", "discriminator_penalty", "generator", "reduction", "logging")
"""What the time of a tick goes into."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@pytest.fixture
def config(tmp_path, dataset):
    return runs.write_config(tmp_path, dataset)


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same_weights(run, other, nimg=480):
    """Everything that training goes on from is the same, bit for bit: weights, averages, Adam's moments, the clock."""
    a, b = (read_checkpoint(folder / "checkpoints" / f"nimg-{nimg:012d}.ckpt") for folder in (run, other))
    assert a["ganlab"] == b["ganlab"]
    assert a["state_dict"].keys() == b["state_dict"].keys()
    for name, tensor in a["state_dict"].items():
        assert torch.equal(tensor, b["state_dict"][name]), name
    moments = [checkpoint["optimizer_states"] for checkpoint in (a, b)]
    for one, two in zip(*(player for player in moments), strict=True):
        for index, state in one["state"].items():
            for name, value in state.items():
                assert torch.equal(value, two["state"][index][name]), (index, name)


# --- the folder


def test_a_run_keeps_its_config_the_last_checkpoints_and_the_samples(finished):
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "events.jsonl",
        "metrics.jsonl",
        "samples",
        "selfcheck.json",
        "wandb",
    ]
    assert [path.name for path in found(finished / "checkpoints")] == [
        "nimg-000000000432.ckpt",
        "nimg-000000000480.ckpt",
    ]
    grids = sorted((finished / "samples").glob("*.png"))
    assert [path.name for path in grids] == ["nimg-000000000240.png", "nimg-000000000480.png"]
    grid = Image.open(grids[0])
    assert (grid.mode, grid.size) == ("RGB", (10 * 50 + 2, 3 * 50 + 2))  # a row for each class, enlarged to 48 px
    assert list((finished / "wandb").iterdir()) == []


def test_the_config_of_a_run_is_the_resolved_one(finished, dataset):
    expected = load(finished.parent / "tiny.yaml", [f"run={finished}"])
    kept = from_yaml(finished / "config.yaml")
    assert differences(expected.as_dict(), kept.as_dict()) == {
        "data.image.height": (None, 16),
        "data.image.width": (None, 16),
        "data.image.channels": (None, 1),
        "data.image.classes": (None, 3),
        "data.image.class_names": (None, []),
    }
    checkpoint = read_checkpoint(finished / "checkpoints" / "nimg-000000000480.ckpt")
    assert checkpoint["config"] == kept.as_dict()
    assert checkpoint["ganlab"]["format"] == 1
    assert checkpoint["ganlab"]["attempt"] == 0
    assert checkpoint["ganlab"]["clock"] == {
        "nimg": 480,
        "moves": {"discriminator": 10, "generator": 10},
        "waited": {"discriminator": 0, "generator": 0},
    }


def test_a_line_of_metrics_at_the_first_step_past_each_multiple_and_at_the_end(finished):
    lines = rows(finished)
    assert [row["nimg"] for row in lines] == [144, 240, 336, 432, 480]
    for row in lines:
        assert set(row) == {
            "nimg",
            "seconds",
            "images_per_second",
            "discriminator/loss",
            "discriminator/r1",
            "discriminator/real_logit",
            "discriminator/fake_logit",
            "discriminator/real_logit_spread",
            "discriminator/fake_logit_spread",
            "discriminator/real_called_real",
            "discriminator/fake_called_real",
            "discriminator/gradient_norm",
            "generator/gradient_norm",
            "time",
            "generator/loss",
            "discriminator/lr",
            "generator/lr",
            "memory_bytes",
            *(f"seconds/{name}" for name in NAMES),
            "share",
        }
        assert row["discriminator/lr"] == row["generator/lr"] == 2e-4
        assert 0 < row["discriminator/r1"] < 100 and 0 < row["generator/loss"] < 100
        assert 50e6 < row["memory_bytes"] < 50e9
        assert 0 <= row["discriminator/real_called_real"] <= 1 and row["discriminator/real_logit_spread"] > 0
        assert 0 < row["discriminator/gradient_norm"] < 1000
        assert datetime.fromisoformat(row["time"]).utcoffset() == timedelta(0)
    seconds = [0, *(row["seconds"] for row in lines)]
    assert seconds == sorted(seconds)
    parts = {name: [row[f"seconds/{name}"] for row in lines] for name in NAMES}
    assert all(min(parts[name]) > 0 for name in ("data", "discriminator_penalty", "generator")), parts
    assert set(parts["discriminator"]) == set(parts["reduction"]) == {0}  # R1 is due in every step; one process
    assert sum(map(sum, parts.values())) <= seconds[-1] + 1e-3  # nothing is counted twice
    for before, after, row in zip([0, 144, 240, 336, 432], seconds, lines, strict=False):
        assert row["images_per_second"] == pytest.approx((row["nimg"] - before) / (row["seconds"] - after), rel=0.05)


def test_the_events_say_where_the_run_ran_and_what_it_saved(finished):
    events = read_lines(finished / "events.jsonl")
    assert [(event["event"], event["nimg"]) for event in events] == [
        ("start", 0),
        *(("checkpoint", nimg) for nimg in (144, 288, 432, 480)),
        ("done", 480),
    ]
    start = events[0]
    assert start["hardware"] == {platform.machine(): 1} and start["hosts"] == 1
    assert torch.__version__.startswith(start["versions"]["torch"]) and start["command"]
    times = [datetime.fromisoformat(event["time"]) for event in events]
    assert times == sorted(times) and all(event["attempt"] == 0 for event in events)


def test_a_tick_in_which_a_player_did_not_step(tmp_path, config):
    text = yaml.safe_load(config.read_text())
    network = {"_target_": "ganlab.networks.dcgan.Generator", "width": 8, "latent": 8}
    judge = {"_target_": "ganlab.networks.dcgan.Discriminator", "width": 8}
    adam = {"_target_": "torch.optim.Adam", "lr": 1e-4, "betas": [0, 0.9]}
    text["model"] = {
        "_target_": "ganlab.models.GANModule",
        "generator": network,
        "discriminator": judge,
        "objective": {"_target_": "ganlab.objectives.NonSaturating"},
        "optimizers": {"generator": adam, "discriminator": adam},
        "lr_schedule": {"_target_": "ganlab.schedules.Linear", "until_nimg": 480},
        "discriminator_steps": 3,
    }
    config.write_text(yaml.safe_dump(text))
    runs.done(config, f"run={tmp_path / 'run'}", "train.tick_nimg=48", "train.total_nimg=192")
    lines = rows(tmp_path / "run")
    assert ["generator/loss" in row for row in lines] == [False, False, True, False]
    assert [row["discriminator/lr"] for row in lines] == pytest.approx([1e-4, 0.9e-4, 0.8e-4, 0.7e-4])


def test_the_clock_of_a_batch_larger_than_its_tick(tmp_path, config):
    runs.done(config, f"run={tmp_path / 'run'}", "train.tick_nimg=10", "train.total_nimg=100")
    assert [row["nimg"] for row in rows(tmp_path / "run")] == [48, 96, 144]


# --- resuming


@pytest.mark.slow
@pytest.mark.parametrize("stop", [48, 240, 300])
def test_a_run_in_two_parts_equals_the_run_in_one(tmp_path, config, finished, stop):
    run = tmp_path / "run"
    runs.done(config, f"run={run}", f"train.total_nimg={stop}")
    first = rows(run)
    said = runs.done(config, f"run={run}")
    boundary = -(-stop // 48) * 48
    assert f"{run}: resuming from nimg-{boundary:012d}.ckpt" in said and f"{run}: done: 480 images" in said
    assert_same_weights(run, finished)
    assert rows(run)[: len(first)] == first
    # Of the lines after the stop, those whose tick began after it tell the same.
    terms = [
        {name: row[name] for name in row if name.startswith(("discriminator/", "generator/"))}
        for folder in (run, finished)
        for row in rows(folder)[-1:]
    ]
    assert terms[0] == terms[1]
    for grid in ("nimg-000000000240.png", "nimg-000000000480.png"):
        assert (run / "samples" / grid).read_bytes() == (finished / "samples" / grid).read_bytes()


def test_a_run_of_another_seed_is_another_run(tmp_path, config, finished):
    runs.done(config, f"run={tmp_path / 'run'}", "seed=1")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "run", finished)


def test_cadences_do_not_change_what_is_computed(tmp_path, config, finished):
    cadences = ["train.tick_nimg=33", "train.sample_every_nimg=50", "train.checkpoint_every_nimg=48"]
    runs.done(config, f"run={tmp_path / 'run'}", *cadences, "train.keep_checkpoints=1")
    assert_same_weights(tmp_path / "run", finished)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt")] == ["nimg-000000000480.ckpt"]


def test_lines_that_a_killed_run_wrote_past_its_checkpoint_are_dropped(tmp_path, config, finished):
    run = tmp_path / "run"
    runs.done(config, f"run={run}", "train.total_nimg=240")
    whole = (run / "metrics.jsonl").read_text()
    lost = whole.splitlines()[-1].replace('"nimg": 240', '"nimg": 336')
    (run / "metrics.jsonl").write_text(f"{whole}{lost}\n{lost[:25]}")
    runs.done(config, f"run={run}")
    assert [row["nimg"] for row in rows(run)] == [144, 240, 336, 432, 480]
    assert (run / "metrics.jsonl").read_text().startswith(whole) and lost not in (run / "metrics.jsonl").read_text()
    assert_same_weights(run, finished)


def test_lines_up_to_the_checkpoint_are_kept_as_they_are(tmp_path):
    file = tmp_path / "metrics.jsonl"
    cut_after(10, file)
    assert read_lines(file) == [] and not file.exists()
    kept = '{"nimg": 1, "seconds": 2.5, "a": null}\n{"nimg": null, "seconds": 3}\n{"nimg":10, "seconds": 7.5}\n'
    torn = b'\xff\0{\n{"nimg": 1'  # a block that a loss of power left unwritten, and a line that was cut
    file.write_bytes(kept.encode() + b'{"nimg": 11, "seconds": 8}\n' + torn)
    assert [row["seconds"] for row in read_lines(file)] == [2.5, 3, 7.5, 8]
    cut_after(10, file)
    assert file.read_text() == kept


def test_results_past_the_checkpoint_are_dropped_and_events_never(tmp_path, config):
    run = tmp_path / "run"
    runs.done(config, f"run={run}", "train.total_nimg=240")
    (run / "results.jsonl").write_text('{"nimg": 240, "value": 1}\n{"nimg": null, "value": 2}\n{"nimg": 336, "va')
    (run / "events.jsonl").open("a").write('{"event": "stop", "nimg": 336}\n')
    runs.done(config, f"run={run}")
    assert [row["value"] for row in read_lines(run / "results.jsonl")] == [1, 2]
    told = read_lines(run / "events.jsonl")
    assert [(event["event"], event["nimg"]) for event in told] == [
        ("start", 0),
        ("checkpoint", 144),
        ("checkpoint", 240),
        ("done", 240),
        ("stop", 336),
        ("resume", 240),
        ("checkpoint", 288),
        ("checkpoint", 432),
        ("checkpoint", 480),
        ("done", 480),
    ]
    assert all(event["attempt"] == 0 for event in told if event["event"] != "stop" or "time" in event)


def test_a_finished_run_says_so_and_writes_nothing(finished):
    before = runs.files(finished)
    said = runs.done(finished.parent / "tiny.yaml", f"run={finished}")
    assert said == (
        f"{finished}: already done: 480 images; for more set train.total_nimg above that\n"
        f"  samples     {finished}/samples/nimg-000000000480.png\n"
        f"  metrics     {finished}/metrics.jsonl\n"
        f"  checkpoint  {finished}/checkpoints/nimg-000000000480.ckpt\n"
    )
    assert runs.files(finished) == before


def test_a_half_written_checkpoint_is_passed_over(tmp_path, config, finished):
    run = tmp_path / "run"
    runs.done(config, f"run={run}", "train.total_nimg=240")
    (run / "checkpoints" / "nimg-000000000384.ckpt.tmp").write_bytes(b"half")
    assert "resuming from nimg-000000000240.ckpt" in runs.done(config, f"run={run}")
    assert_same_weights(run, finished)


# --- errors and signals while it trains


def test_a_gradient_that_is_no_number_ends_the_run_and_spares_the_weights(tmp_path, config):
    run = tmp_path / "run"
    result = runs.ganlab("train", config, f"run={run}", "model.regularizers.r1.weight=1e38")
    assert result.exit_code == 1
    assert "ganlab: at 144 images: 100.0% of the discriminator's steps" in result.stderr
    assert "Lower the learning rate, add a penalty, or see train.on_not_finite" in result.stderr
    assert rows(run)[-1]["nimg"] == 144  # the line that shows it is there
    assert all(row["discriminator/r1"] is None or row["discriminator/r1"] > 0 for row in rows(run))  # JSON has no NaN


def test_the_signals_are_given_back_however_a_run_ends(tmp_path, config, dataset):
    before = [signal.getsignal(number) for number in SIGNALS]
    runs.done(config, f"run={tmp_path / 'run'}", "train.total_nimg=48")
    assert [signal.getsignal(number) for number in SIGNALS] == before
    result = runs.ganlab("train", config, f"run={tmp_path / 'bad'}", "model.regularizers.r1.weight=1e38")
    assert result.exit_code == 1
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)])
def test_a_signal_stops_after_a_round_saves_and_the_run_resumes(tmp_path, config, finished, number, code):
    run = tmp_path / "run"

    def send_when_it_trains():
        while not (run / "metrics.jsonl").exists():
            stop.wait(0.005)
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)  # as torchrun does after a Ctrl-C that all have seen

    stop = threading.Event()
    thread = threading.Thread(target=send_when_it_trains)
    thread.start()
    cadences = ["train.tick_nimg=48", "train.sample_every_nimg=10_000_000", "train.checkpoint_every_nimg=10_000_000"]
    result = runs.ganlab("train", config, f"run={run}", "train.total_nimg=48_000", *cadences)
    thread.join()
    assert result.exit_code == code, result.output
    saved = max((run / "checkpoints").iterdir())
    nimg = int(saved.stem.removeprefix("nimg-"))
    assert f"{run}: stopped at {nimg:,} images, checkpoint saved; the same command resumes it" in result.stdout
    assert rows(run)[-1]["nimg"] < nimg and list((run / "samples").iterdir()) == []  # it has saved, and nothing else
    told = read_lines(run / "events.jsonl")
    assert [event["event"] for event in told] == ["start", "checkpoint", "stop"]
    assert told[-1]["nimg"] == nimg and (told[-1]["signal"], told[-1]["code"]) == (signal.Signals(number).name, code)
    runs.done(config, f"run={run}", f"train.total_nimg={nimg + 48}")
    straight = tmp_path / "straight"
    runs.done(config, f"run={straight}", f"train.total_nimg={nimg + 48}")
    assert_same_weights(run, straight, nimg + 48)


# --- what only advises


BRANCHING = """
from ganlab.networks.dcgan import Discriminator

class Branching(Discriminator):
    def forward(self, images, labels):
        return super().forward(images if images.mean() > -2 else -images, labels)
"""


def test_a_network_whose_work_cannot_be_counted_is_trained_all_the_same(tmp_path, config, monkeypatch):
    (tmp_path / "branching.py").write_text(BRANCHING)
    monkeypatch.syspath_prepend(str(tmp_path))
    adam = {"_target_": "torch.optim.Adam", "lr": 1e-4}
    text = yaml.safe_load(config.read_text())
    text["model"] = {
        "_target_": "ganlab.models.GANModule",
        "generator": {"_target_": "ganlab.networks.dcgan.Generator", "width": 8, "latent": 8},
        "discriminator": {"_target_": "branching.Branching", "width": 8},
        "objective": {"_target_": "ganlab.objectives.NonSaturating"},
        "optimizers": {"generator": adam, "discriminator": adam},
    }
    config.write_text(yaml.safe_dump(text))
    result = runs.ganlab("train", config, f"run={tmp_path / 'run'}", "--trust", "branching")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("limit       unknown: DataDependentOutputException: ") == 1
    assert len(rows(tmp_path / "run")) == 5 and "share" not in rows(tmp_path / "run")[0]


def test_samples_that_cannot_be_written_end_nothing(tmp_path, config, caplog):
    run = tmp_path / "run"
    (run / "samples" / "nimg-000000000240.png.tmp").mkdir(parents=True)
    (run / "samples" / "nimg-000000000240.png").mkdir()
    runs.done(config, f"run={run}")
    assert "a picture of samples could not be written: " in caplog.text
    assert (run / "samples" / "nimg-000000000480.png").is_file()


# --- small print


def test_a_line_of_progress():
    assert progress_line(12_800, 64_000, 512.0) == "12,800 of 64,000 images (20%), 512 images/s, 1:40 left"
    assert progress_line(0, 10_000_000, 1000.0) == "0 of 10,000,000 images (0%), 1,000 images/s, 2:46:40 left"
    assert progress_line(1024, 1000, 4.0) == "1,000 of 1,000 images (100%), 4 images/s, 0:00 left"
    assert progress_line(999, 1000, 4.0) == "999 of 1,000 images (99%), 4 images/s, 0:00 left"


@pytest.mark.parametrize("done", [0, 100, 199_999, 200_000, 2_048_000])
def test_a_line_on_a_terminal_fits_and_never_passes_100_percent(done):
    progress = Progress("training", 200_000)
    progress.facts = "discriminator 0.693 generator 0.700"
    progress.done = done
    lines = {width: progress.fitting(width) for width in (1, 10, 40, 60, 80, 120, 200)}
    assert all(len(line) < width for width, line in lines.items()), lines
    share = min(100 * done // 200_000, 100)
    for width in (40, 60, 80, 120, 200):
        assert lines[width].startswith(f"training {share}%") and " left" in lines[width]
    assert f"{min(done, 200_000):,} of 200,000 images" in lines[120] and "generator 0.700" in lines[120]
    assert ("█" in lines[200]) == (share > 3) and "|" in lines[200]


def test_the_speed_is_that_since_the_first_images(monkeypatch, capsys):
    """Workers that take ten seconds to start are not told as hours that are left."""
    times = iter((0.0, 10.0, 11.0, 14.0, 14.0, 20.0))  # the speed is asked for at 14 s, too
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    counted = Progress("packing", 1000)
    for _ in range(4):
        counted.update(10)
    assert capsys.readouterr().err == "packing: 30 of 1,000 images (3%), 5 images/s, 3:14 left\n"


def test_the_first_line_the_first_grid_and_the_first_checkpoint_do_not_wait_for_their_images(
    tmp_path, config, finished, monkeypatch
):
    monkeypatch.setattr(signals, "EARLY", 0.0)
    monkeypatch.setattr(progress, "FIRST_LINE", 0.0)
    run, rare = tmp_path / "run", [f"train.{name}=10_000" for name in CADENCES]
    said = runs.ganlab("train", config, f"run={run}", *rare, "train.keep_checkpoints=9", "train.total_nimg=144")
    assert re.search(r"^training: 96 of 144 images \(66%\), [\d,]+ images/s, \d+:\d\d left$", said.stderr, re.MULTILINE)
    assert [path.name for path in found(run / "checkpoints")] == ["nimg-000000000048.ckpt", "nimg-000000000144.ckpt"]
    (run / "checkpoints" / "nimg-000000000144.ckpt").unlink()
    assert "resuming from nimg-000000000048.ckpt" in runs.done(config, f"run={run}", *rare, "train.keep_checkpoints=9")
    grids = sorted(path.stem for path in (run / "samples").glob("*.png"))
    assert grids == ["nimg-000000000048", "nimg-000000000144", "nimg-000000000480"]  # once, by a new run only
    assert_same_weights(run, finished)


def test_a_file_is_whole_or_the_old_one(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write(b"old")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half of the new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_checkpoint_can_be_read_from_another_place(tmp_path, finished):
    shutil.copytree(finished, tmp_path / "copy")
    assert_same_weights(tmp_path / "copy", finished)


# --- what a machine cannot do


def test_sharding_is_refused_for_an_optimizer_without_a_fused_step_for_shares(config, tmp_path, monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    adam, sgd = (f"{{_target_: torch.optim.{name}, lr: 0.01}}" for name in ("Adam", "SGD"))
    path, run = tmp_path / "sgd.yaml", tmp_path / "run"
    path.write_text(f"base: tiny.yaml\nmodel: {{optimizers: {{generator: {sgd}, discriminator: {adam}}}}}")
    assert runs.refused("train", path, f"run={run}", "machine.shard=true").strip() == (
        "machine.shard: true, but torch has no fused SGD for sharded weights (model.optimizers.generator); take "
        "torch.optim.Adam or AdamW, or write machine.shard=false"
    )
    assert not run.exists()


def test_what_shards_and_cuda_graphs_would_leave_out_in_silence_is_refused(config, monkeypatch):
    clipped = tiny.game(constraints={"clip": WeightClip(bound=0.01)})
    betas = (0.5, Linear(until_nimg=100, start=0.9, end=0.99))
    plain, changing = (partial(make, lr=1e-3, betas=betas) for make in (torch.optim.Adam, torch.optim.AdamW))
    falling = partial(torch.optim.Adam, lr=Linear(until_nimg=100, start=1e-3, end=0.0))
    on = load(config, ["machine.shard=true", "machine.cuda_graphs=true"])
    monkeypatch.setattr(checks, "on_gpu", lambda machine: True)
    for game, refused in (
        (tiny.game(dynamics=Simultaneous()), "with Simultaneous dynamics a step is not captured; write machine.cuda"),
        (tiny.game(optimizers={"generator": changing, "discriminator": plain}), "the first value of the schedule of b"),
    ):
        with pytest.raises(UserError, match=f"^machine.cuda_graphs: true, but .*{refused}"):
            checks.check_cuda_graphs(on, game)
    checks.check_cuda_graphs(on, tiny.game(optimizers={"generator": plain, "discriminator": falling}))
    checks.check_shard(on, clipped)  # on one process nothing is sharded
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"^machine.shard: true, but the weights of the discr"):
        checks.check_shard(on, clipped)
