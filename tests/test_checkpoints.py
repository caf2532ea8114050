"""Checkpoint files: written whole, verified, and what happens to damaged, hostile and unwritable ones."""

import hashlib
import json
import logging
import os
import pickle
import random
import re
import shutil
import time
from pathlib import Path

import pytest
import tiny_runs as runs
import torch

from ganlab.experiment import checkpoints
from ganlab.experiment.checkpoints import Writer, facts_of, found, newest, path_at, read
from ganlab.models import GANModule
from ganlab.types import UserError


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, which holds checkpoints at 432 and 480 images."""
    return shutil.copytree(finished, tmp_path / "copy")


def state(nimg, **more):
    ours = {"format": 1, "clock": {"nimg": nimg, "moves": {}}, "attempt": 0}
    return {"ganlab": ours, "config": {}, "state_dict": {"w": torch.arange(5.0) * nimg}, **more}


def seal(path):
    """Put a right checksum beside a file, so that what is in it is all that can be wrong."""
    path.with_suffix(".json").write_text(json.dumps({"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))


def test_what_is_written_is_read_back_with_its_sha256_beside_it(tmp_path):
    writer = Writer(keep=2)
    path = path_at(tmp_path, 64)
    writer.submit(state(64, metrics={"loss": 0.5}), path)
    writer.wait()
    assert torch.equal(read(path)["state_dict"]["w"], torch.arange(5.0) * 64)
    facts = json.loads((tmp_path / "nimg-000000000064.json").read_text())
    assert facts == {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "metrics": {"loss": 0.5}}
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".ckpt", ".json"]


def test_what_changes_after_the_call_is_not_in_the_file(tmp_path):
    writer, values = Writer(keep=1), state(1)
    weight = values["state_dict"]["w"] = torch.ones(1000, 1000).to(memory_format=torch.contiguous_format)
    writer.submit(values, path_at(tmp_path, 1))
    weight.zero_()
    writer.wait()
    assert read(path_at(tmp_path, 1))["state_dict"]["w"].sum() == 1e6


def test_the_newest_and_the_best_are_kept(tmp_path):
    writer = Writer(keep=2, best="fid")
    for nimg, fid in enumerate([9.0, 3.0, float("nan"), 5.0, 4.0, None]):
        writer.submit(state(nimg, metrics={} if fid is None else {"fid": fid}), path_at(tmp_path, nimg))
    writer.wait()
    assert [int(path.stem.removeprefix("nimg-")) for path in found(tmp_path)] == [1, 4, 5]
    assert len(list(tmp_path.iterdir())) == 6


def test_the_highest_value_is_the_best_where_a_metric_says_so(tmp_path):
    writer = Writer(keep=1, best="precision", highest=True)
    for nimg, precision in enumerate([0.2, 0.9, 0.5, 0.1]):
        writer.submit(state(nimg, metrics={"precision": precision}), path_at(tmp_path, nimg))
    writer.wait()
    assert [int(path.stem.removeprefix("nimg-")) for path in found(tmp_path)] == [1, 3]


def test_a_checkpoint_may_be_judged_after_it_was_written(tmp_path):
    writer = Writer(keep=1, best="fid")
    for nimg, fid in enumerate([9.0, 3.0, 5.0, 4.0]):
        path = path_at(tmp_path, nimg)
        writer.submit(state(nimg, metrics={"loss": 0.5}), path)
        sha256 = writer.wait() or facts_of(path)["sha256"]
        writer.judge(path, {"fid": fid})
        assert facts_of(path) == {"sha256": sha256, "metrics": {"loss": 0.5, "fid": fid}}
    assert [int(path.stem.removeprefix("nimg-")) for path in found(tmp_path)] == [1, 3]
    writer.judge(path_at(tmp_path, 17), {"fid": 1.0})  # a kill came before it was saved
    assert len(list(tmp_path.iterdir())) == 4


def test_a_name_to_keep_by_that_there_is_not_is_told_once_with_those_that_there_are(tmp_path, caplog):
    writer = Writer(keep=1, best="generator/los")
    writer.look_for_best(["fid"])
    assert caplog.text == ""  # it is no evaluation's, and may still come
    for _ in range(2):
        writer.look_for_best(["generator/loss", "discriminator/loss"])
    assert caplog.text.count("train.keep_best: there is no generator/los; there are generator/loss, disc") == 1


def test_every_wrong_bit_is_noticed_and_the_checkpoint_before_is_taken(copy, caplog):
    path = path_at(copy / "checkpoints", 480)
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(100):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"{path}: damaged: its sha256 is"):
            read(path)
    for content in (b"", whole[:1000], whole[:-1], whole + b" "):
        path.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            taken, checkpoint = newest(copy / "checkpoints")
        assert taken == path_at(copy / "checkpoints", 432) and checkpoint["ganlab"]["clock"]["nimg"] == 432
        assert "damaged" in caplog.text and "resuming from nimg-000000000432.ckpt" in caplog.text


def test_a_run_goes_on_from_the_one_before_a_torn_one_and_ends_the_same(copy, finished):
    path = path_at(copy / "checkpoints", 480)
    path.write_bytes(path.read_bytes()[:5000])
    said = runs.done(finished.parent / "tiny.yaml", f"run={copy}")
    assert "resuming from nimg-000000000432.ckpt" in said
    for name, tensor in read(path_at(finished / "checkpoints", 480))["state_dict"].items():
        assert torch.equal(tensor, read(path)["state_dict"][name])


def test_with_all_of_them_damaged_nothing_is_begun_anew_in_silence(copy, finished):
    for path in found(copy / "checkpoints"):
        path.write_bytes(b"not a checkpoint")
    before = runs.files(copy)
    said = runs.refused("train", finished.parent / "tiny.yaml", f"run={copy}")
    assert said.count("damaged: its sha256 is") == 2 and said.endswith("delete them to start over\n")
    assert runs.files(copy) == before


def test_one_without_its_checksum_is_not_trusted(copy):
    path_at(copy / "checkpoints", 480).with_suffix(".json").unlink()
    assert newest(copy / "checkpoints")[0] == path_at(copy / "checkpoints", 432)
    path_at(copy / "checkpoints", 432).with_suffix(".json").unlink()  # as where only *.ckpt was copied
    with pytest.raises(UserError, match=r"432\.ckpt: cannot be checked without nimg-000000000432\.json, .*; copy that"):
        newest(copy / "checkpoints")


class Bomb:
    """A pickle that leaves a folder where it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["torch", "pickle", "legacy"])
def test_one_that_would_run_code_does_not(copy, finished, tmp_path, form):
    path = path_at(copy / "checkpoints", 999)
    content = {**read(path_at(finished / "checkpoints", 480)), "more": Bomb(tmp_path / "ran")}
    for other in found(copy / "checkpoints"):
        other.unlink()
    if form == "pickle":
        path.write_bytes(pickle.dumps(content["more"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    seal(path)
    for words in (
        ["train", finished.parent / "tiny.yaml", f"run={copy}"],
        ["sample", copy],
        ["export", copy, "--out", tmp_path / "e"],
    ):
        assert re.match(f"{path}: (refused|cannot be read): ", runs.refused(*words))
    assert not (tmp_path / "ran").exists() and not (tmp_path / "e").exists()
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()  # the bomb is one


@pytest.mark.parametrize(
    "content",
    [
        [1],
        {"state_dict": {}},
        {"ganlab": {"format": 2}, "config": {}},
        {"ganlab": {"format": 1}},
        {"ganlab": 1, "config": {}},
    ],
    ids=str,
)
def test_a_file_of_torch_that_is_no_checkpoint_of_ours(tmp_path, content):
    path = path_at(tmp_path, 1)
    torch.save(content, path)
    seal(path)
    with pytest.raises(UserError, match="not a checkpoint of `ganlab train`, format 1"):
        read(path)


def test_a_full_disk_is_one_clear_error_and_spares_the_checkpoint_before(small_disk):
    folder = small_disk("1m")
    writer = Writer(keep=1)
    writer.submit(state(1), path_at(folder, 1))
    large = state(2)
    large["state_dict"]["w"] = torch.zeros(400_000)
    writer.submit(large, path_at(folder, 2))
    with pytest.raises(
        UserError, match=r"nimg-000000000002.* cannot be written: No space left on device; the checkpoints before it"
    ):
        writer.wait()
    assert newest(folder)[0] == path_at(folder, 1)
    assert not list(folder.glob("*.tmp"))
    assert {path.stem for path in folder.iterdir()} == {"nimg-000000000001"}


def test_the_game_waits_for_a_copy_and_not_for_the_disk(tmp_path, monkeypatch):
    """The write is held back: `submit` returns all the same, and the next one waits for it."""
    slow, saved = [], torch.save
    monkeypatch.setattr(checkpoints.torch, "save", lambda *words: (time.sleep(0.5), slow.append(1), saved(*words)))
    writer = Writer(keep=2)
    writer.submit(state(1), path_at(tmp_path, 1))
    assert not slow and not found(tmp_path)
    writer.submit(state(2), path_at(tmp_path, 2))
    assert found(tmp_path) == [path_at(tmp_path, 1)]
    writer.wait()
    assert len(found(tmp_path)) == 2


def test_a_run_that_goes_on_does_not_keep_the_file_mapped(copy, finished, monkeypatch):
    """What is mapped from a file that is deleted stays on the disk; on a network's, reading it ends the process."""
    mapped, step = [], GANModule.training_step

    def looking(self, batch, number):
        mapped.append("nimg-000000000480" in Path("/proc/self/maps").read_text())
        step(self, batch, number)

    monkeypatch.setattr(GANModule, "training_step", looking)
    runs.done(finished.parent / "tiny.yaml", f"run={copy}", "train.total_nimg=528")
    assert mapped == [False]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("fp16", "bf16"), ("bf16", "fp16"), ("fp32", "fp16")])
def test_a_run_may_go_on_in_another_precision(tmp_path, dataset, first, then):
    config, run = runs.write_config(tmp_path, dataset), tmp_path / "run"
    runs.done(config, f"run={run}", f"machine.precision={first}", "train.total_nimg=240")
    said = runs.done(config, f"run={run}", f"machine.precision={then}")
    assert "resuming from nimg-000000000240.ckpt" in said
    scales = [name for name in read(path_at(run / "checkpoints", 480))["state_dict"] if "loss_scales" in name]
    assert bool(scales) == (then == "fp16")


def test_loss_scales_are_kept_where_the_precision_stays(tmp_path, dataset):
    config, run = runs.write_config(tmp_path, dataset), tmp_path / "run"
    runs.done(config, f"run={run}", "machine.precision=fp16", "train.total_nimg=240")
    runs.done(config, f"run={run}", "machine.precision=fp16", "train.keep_checkpoints=9")
    counts = [read(path_at(run / "checkpoints", nimg))["state_dict"] for nimg in (240, 480)]
    assert [int(weights["loss_scales.generator.finite"]) for weights in counts] == [5, 10]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fid", "train.keep_best: fid: no evaluation measures that; choose from a player's loss (generator/loss), or"),
        ("lr", "train.keep_best: lr: no evaluation measures that"),
    ],
)
def test_a_name_to_keep_by_that_nothing_measures_is_refused(tmp_path, dataset, override, words):
    config, run = runs.write_config(tmp_path, dataset), tmp_path / "run"
    assert runs.refused("train", config, f"run={run}", f"train.keep_best={override}").startswith(words)
    assert not run.exists()


def test_a_misspelt_term_is_told_and_the_run_goes_on(tmp_path, dataset, caplog):
    config, run = runs.write_config(tmp_path, dataset), tmp_path / "run"
    runs.done(config, f"run={run}", "train.keep_best=generator/los")
    assert (
        caplog.text.count("train.keep_best: there is no generator/los; there are discriminator/fake_called_real") == 1
    )
