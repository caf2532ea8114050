"""The verb `train`: check everything, assemble the objects, let Lightning run them, and say where things are."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
import torch

from ganlab import distributed
from ganlab.callbacks import AtomicCheckpointIO, Checkpoints, Guard, Heartbeat, Samples, Ticks, Tracker
from ganlab.callbacks.checkpoint import found
from ganlab.config import Config
from ganlab.data.module import ShardData
from ganlab.models import GANModule
from ganlab.run import agreed_image, build_model, check_batch, check_device, check_resume, make_run_folder

STOPPED_BY_SIGNAL = 75
"""Exit code of a run that a signal stopped and that has saved itself: run me again."""

GRACE_SECONDS = 30
"""From the heartbeat's timeout to that of torch, which also bounds how long processes wait for each other to start."""


def train(config: Config, allow_change: Sequence[str] = ()) -> int:
    """Train, or go on where the newest checkpoint stands; return the exit code.

    Args:
        config: the checked config.
        allow_change: keys (with `*` for many) that may differ from the checkpoint's config.
    """
    distributed.join(config.machine)
    run = Path(config.run)
    data = ShardData(config.data.url, batch=config.train.batch, seed=config.seed, threads=config.machine.decode_threads)
    config = replace(config, data=replace(config.data, image=agreed_image(config, data.image)))
    check_batch(config)
    check_device(config)
    newest = next(reversed(found(run / "checkpoints")), None)
    if newest is not None and (done := check_resume(newest, config, allow_change)) >= config.train.total_nimg:
        print_done(run, f"already done: {done:,} images; for more set train.total_nimg above that")
        return 0
    model = build_model(config)
    make_run_folder(run, config)
    return fit(config, run, model, data, newest)


def fit(config: Config, run: Path, model: GANModule, data: ShardData, newest: Path | None) -> int:
    """Hand the checked objects to Lightning; return the exit code."""
    chief, plain = distributed.rank() == 0, config.as_dict()
    tracker = Tracker(run, config.logging.wandb, config.logging.project, plain) if chief else None
    guard = Guard(config.train.total_nimg)
    every = config.train
    callbacks: list[pl.Callback] = [
        guard,
        Heartbeat(float(config.machine.timeout_seconds)),
        Ticks(run / "metrics.jsonl", every=every.tick_nimg, total_nimg=every.total_nimg, tracker=tracker),
        Samples(run / "samples", every=every.sample_every_nimg, seed=config.seed, tracker=tracker),
        Checkpoints(run / "checkpoints", every=every.checkpoint_every_nimg, keep=every.keep_checkpoints, config=plain),
    ]
    trainer = make_trainer(config, callbacks)
    if newest is not None and chief:
        announce(f"{run}: going on from {newest.name}")
    try:
        trainer.fit(model, data, ckpt_path=newest)
    finally:
        if tracker is not None:
            tracker.finish()
    if guard.signal:
        if chief:
            announce(f"{run}: stopped at {model.clock.nimg:,} images, checkpoint saved; the same command goes on")
        return 130 if guard.signal == 2 else STOPPED_BY_SIGNAL
    if chief:
        print_done(run, f"done: {model.clock.nimg:,} images")
    return 0


def make_trainer(config: Config, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Return a Trainer without what costs time and brings a GAN nothing."""
    quiet_lightning()
    if config.machine.precision == "tf32":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    if config.machine.threads is not None:
        torch.set_num_threads(config.machine.threads)
    world_size, here = distributed.world_size(), distributed.processes_here()
    io = AtomicCheckpointIO()
    # A collective's own timeout comes later than the heartbeat's, which can say who is missing.
    timeout = timedelta(seconds=config.machine.timeout_seconds + GRACE_SECONDS)
    trainer = pl.Trainer(
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[config.machine.device],
        devices=here,
        num_nodes=world_size // here,
        strategy=distributed.NoWrapStrategy(checkpoint_io=io, timeout=timeout) if world_size > 1 else "auto",
        plugins=[distributed.environment(), *([] if world_size > 1 else [io])],
        max_epochs=-1,
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    assert trainer.world_size == trainer.num_nodes * trainer.num_devices == world_size
    return trainer


def quiet_lightning() -> None:
    """Silence remarks that tell our users nothing: about workers, loggers and hardware they know they have."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", module=name)


def announce(line: str) -> None:
    """Say one line to the person who waits."""
    print(line, flush=True)


def print_done(run: Path, line: str) -> None:
    """Say where everything is."""
    newest_grid = max((run / "samples").glob("nimg-*.png"), default="none")
    announce(f"{run}: {line}")
    announce(f"  samples     {newest_grid}")
    announce(f"  metrics     {run / 'metrics.jsonl'}")
    announce(f"  checkpoint  {max(found(run / 'checkpoints'), default='none')}")
