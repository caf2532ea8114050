"""Runs that grow: stopped in a fade and at its ends, sampled and exported at the size of their time; the presets."""

import json
from pathlib import Path

import jobs
import pytest
import pytorch_lightning as pl
import tiny_runs as runs
import torch
from repository import REPOSITORY
from torch.utils.data import DataLoader, TensorDataset

import ganlab
from ganlab.experiment.build import build_model
from ganlab.experiment.checkpoints import read
from ganlab.experiment.checks import check_batch
from ganlab.experiment.config import load
from ganlab.experiment.records import read_lines
from ganlab.models import ProgressiveGAN
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

GROWING = """
base: tiny.yaml
model:
  _target_: ganlab.models.ProgressiveGAN
  width_base: 32
  width_max: 8
  latent: 8
  train_nimg: 96
  fade_nimg: 96
  batches: {4: 48, 8: 24, 16: 12}
  lr_factors: {16: 0.5}
train: {batch: null, total_nimg: 432, tick_nimg: 48, sample_every_nimg: 240, checkpoint_every_nimg: 48}
"""
"""4 px until 96 images, 8 px fading in until 192 and whole until 288, 16 px fading in until 384."""


@pytest.fixture(scope="module")
def config(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("growing")
    runs.write_config(folder, dataset)
    (folder / "growing.yaml").write_text(GROWING)
    return folder / "growing.yaml"


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    runs.done(config, f"run={config.parent / 'whole'}", "train.keep_checkpoints=100")
    return config.parent / "whole"


def checkpoint(run: Path, nimg: int = 432) -> dict:
    return read(run / "checkpoints" / f"nimg-{nimg:012d}.ckpt")


@pytest.mark.slow
def test_a_run_takes_the_batches_and_rates_of_its_sizes(whole: Path) -> None:
    clock = checkpoint(whole)["ganlab"]["clock"]
    steps = 2 + 8 + 12  # 96 images by 48, 192 by 24, 144 by 12
    assert (clock["nimg"], clock["moves"]) == (432, {"discriminator": steps, "generator": steps})
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    rates = {row["nimg"]: row["generator/lr"] for row in rows}
    assert rates == {nimg: 1e-3 if nimg < 288 else 5e-4 for nimg in range(48, 433, 48)}


@pytest.mark.slow
def test_the_events_tell_each_phase(whole: Path) -> None:
    told = [event for event in read_lines(whole / "events.jsonl") if event["event"] == "phase"]
    phases = ganlab.load(whole).phases[1:]
    assert [(event["height"], event["batch"]) for event in told] == [
        (phase.image.height, phase.batch) for phase in phases
    ]
    assert all(event["nimg"] >= phase.from_nimg for event, phase in zip(told, phases, strict=True)) and told


@pytest.mark.slow
def test_a_run_stopped_in_fades_and_at_their_ends_goes_on_bit_for_bit(config: Path, whole: Path) -> None:
    run, stops = config.parent / "stopped", (96, 144, 192, 300, 384, 432)
    for before, stop in zip((0, *stops), stops, strict=False):
        said = runs.done(config, f"run={run}", f"train.total_nimg={stop}")
        assert before == 0 or f"resuming from nimg-{before:012d}.ckpt" in said
        if stop == 300:
            continue  # the undisturbed run saves at multiples of 48
        one, two = (
            dict(jobs.tensors({key: checkpoint(folder, stop)[key] for key in ("state_dict", "optimizer_states")}))
            for folder in (run, whole)
        )
        assert one.keys() == two.keys() and len(one) > 80
        for name, tensor in one.items():
            assert torch.equal(tensor, two[name]), (stop, name)
        assert not any("alpha" in name for name in one)  # growth is the clock's
    for grid in ("nimg-000000000240.png", "nimg-000000000432.png"):
        assert (run / "samples" / grid).read_bytes() == (whole / "samples" / grid).read_bytes()


@pytest.mark.slow
def test_a_checkpoint_at_the_end_of_a_fade_holds_adam_as_new(whole: Path) -> None:
    for nimg, seen in ((48, (1, 1)), (96, (0, 1)), (192, (0, 1)), (288, (0, 1)), (384, (0, 1))):
        players = checkpoint(whole, nimg)["optimizer_states"]
        assert tuple(max((s["step"] for s in p["state"].values()), default=0) for p in players) == seen


@pytest.mark.slow
def test_a_loaded_run_and_its_export_sample_at_the_size_of_their_time(config: Path, whole: Path) -> None:
    run, out = config.parent / "fading", config.parent / "export"
    runs.done(config, f"run={run}", "train.total_nimg=144")
    assert runs.ganlab("export", run, "--out", out).exit_code == 0
    loaded, exported = ganlab.load(run), ganlab.load(out)
    assert loaded.clock.nimg == exported.clock.nimg == 144 and loaded.level(144) == (8, 0.5)
    images = loaded.sample(4, seed=3)
    assert images.shape == (4, 1, 16, 16) and torch.equal(exported.sample(4, seed=3), images)
    assert torch.equal(images, images[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3))
    loaded.clock.nimg = 432  # with the same weights, another picture
    assert not torch.equal(loaded.sample(4, seed=3), images)
    assert ganlab.load(whole).clock.nimg == 432


@pytest.mark.filterwarnings("ignore")  # what Lightning says of loaders, loggers and hardware
def test_a_plain_loader_of_full_size_images_will_do(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (40, 1, 16, 16), dtype=torch.uint8, generator=draw)
    model = ProgressiveGAN(
        image=ImageSpec(16, 16, 1), width_base=16, width_max=4, latent=4, train_nimg=16, fade_nimg=16
    )
    loader = DataLoader(TensorDataset(images, torch.full((40,), -1)), batch_size=8)
    trainer = pl.Trainer(
        max_steps=10,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, loader)
    assert model.level(model.clock.nimg) == (16, 1.0) and model.statistics.read()["discriminator/not_finite"] == 0


def test_the_schedule_for_eight_gpus_is_shared_by_eight_processes_in_whole_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    for name in ("progressive", "progressive_r1"):
        config = load(REPOSITORY / "configs" / "celeba_hq" / f"{name}.yaml")
        with torch.device("meta"):
            model = build_model(config)
        check_batch(config, model)
        sizes = [phase.image.height for phase in model.phases]
        assert sizes == [4, 8, 16, 32, 64, 128, 256, 512, 1024]
        assert [phase.batch for phase in model.phases] == [512, 256, 128, 64, 32, 32, 32, 32, 32]
        assert [phase.from_nimg for phase in model.phases] == [0, *range(600_000, 9_600_000, 1_200_000)]
        factors = [model.players["generator"].lr_schedule(phase.from_nimg) for phase in model.phases]
        assert factors == [1, 1, 1, 1, 1, 1.5, 2, 3, 3]
        makers = [player.optimizer for player in model.players.values()]
        assert all(maker.keywords == {"lr": 1e-3, "betas": (0.0, 0.99)} for maker in makers)
    config = load(REPOSITORY / "configs" / "celeba_hq" / "progressive_1gpu.yaml")
    with torch.device("meta"):
        model = build_model(config)
    with pytest.raises(UserError, match=r"train\.batch: 16 images at 128 px cannot be shared by 8 processes"):
        check_batch(config, model)


@pytest.mark.slow
def test_show_tells_the_phases_and_every_parameter(config: Path) -> None:
    said = runs.ganlab("show", config, f"run={config.parent / 'none'}").output
    for size, start, batch in ((4, 0, 48), (8, 96, 24), (16, 288, 12)):
        line = f"batch       {batch} over 1 process, {batch} at a time, from {start} images on at {size} px"
        assert line in said.splitlines()
    assert "steps       22 of the generator" in said  # 2 by 48, 8 by 24, 12 by 12
    tables = said[said.index("\ngenerator") : said.index("\nimages ")].split("\n\n")
    assert len(tables) == 2
    for table in tables:
        *layers, total = [int(line.split()[-1].replace(",", "")) for line in table.splitlines() if line[-1:].isdigit()]
        assert sum(layers) == total > 0
        assert "not in use" in table
