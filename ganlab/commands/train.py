"""The verb `train`: check everything, assemble the objects, let Lightning run them, and say where things are."""

import logging
import signal
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytorch_lightning as pl

from ganlab import distributed
from ganlab.callbacks import (
    BadSamples,
    Checkpoints,
    Evaluate,
    Guard,
    Heartbeat,
    NotFiniteError,
    Samples,
    SelfCheck,
    Ticks,
    Tracker,
    WriterIO,
)
from ganlab.callbacks.evaluate import Judge
from ganlab.callbacks.every import EveryImages
from ganlab.data import ShardDataset
from ganlab.data.read.module import ShardData
from ganlab.engine import sharding
from ganlab.engine.game import Game
from ganlab.engine.loop import Stretches
from ganlab.evaluation.evaluate import make_extractor
from ganlab.evaluation.images import open_images
from ganlab.experiment import checkpoints
from ganlab.experiment.build import build_model, count_work, open_dataset, set_arithmetic, speed_up
from ganlab.experiment.checks import (
    agreed_image,
    check_batch,
    check_compile,
    check_cuda_graphs,
    check_device,
    check_labels,
    check_optimizers,
    check_resume,
    check_shapes,
    check_shard,
)
from ganlab.experiment.folder import make_run_folder
from ganlab.experiment.frame import Config
from ganlab.experiment.selfcheck import Work
from ganlab.types import UserError

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
    dataset = open_dataset(config)
    try:
        return train_on(dataset, config, allow_change)
    finally:
        dataset.close()


def train_on(dataset: ShardDataset, config: Config, allow_change: Sequence[str]) -> int:
    """Check the rest, and play; return the exit code."""
    run = Path(config.run)
    data = ShardData(
        dataset,
        batch=config.train.batch,
        seed=config.seed,
        threads=config.machine.decode_threads,
        mirror=config.data.mirror,
    )
    config = replace(config, data=replace(config.data, image=agreed_image(config, data.image)))
    check_device(config)
    model = build_model(config)
    check_batch(config, model)
    check_optimizers(model)
    check_shard(config, model)
    check_compile(config, model)
    check_cuda_graphs(config, model)
    check_labels(config, model, dataset)
    judge = open_judge(config)
    newest = checkpoints.newest(run / "checkpoints")
    if newest is not None:
        path, saved = newest
        check_resume(path, saved, config, data.index.fingerprint, allow_change)
        check_shapes(path, saved, model)
        if (done := saved["ganlab"]["clock"]["nimg"]) >= config.train.total_nimg:
            print_done(run, f"already done: {done:,} images; for more set train.total_nimg above that")
            return 0
    make_run_folder(run, config)
    plain = config.as_dict()
    tracker = Tracker(run, config.logging.wandb, config.logging.project, plain) if distributed.rank() == 0 else None
    try:
        works = count_work(config, model)
        return play(partial(fit, config, data, judge, works, tracker), config, model, newest and newest[0])
    finally:
        if tracker is not None:
            tracker.finish()


def play(fit: Callable[[Game, Path | None], int], config: Config, model: Game, newest: Path | None) -> int:
    """Train, and roll back as often as the config allows; return the exit code."""
    for _ in range(config.train.rollbacks if config.train.on_not_finite == "rollback" else 0):
        try:
            return fit(model, newest)
        except NotFiniteError as error:
            distributed.barrier()  # rank 0 may have been writing
            last = checkpoints.newest(Path(config.run) / "checkpoints")
            newest = last and last[0]
            announce(f"{error}; rolling back to {newest.name if newest else 'the start'}")
            model = build_model(config, attempt=model.runtime.attempt + 1)
    return fit(model, newest)


def fit(
    config: Config,
    data: ShardData,
    judge: Judge | None,
    works: Mapping[int, Work],
    tracker: Tracker | None,
    model: Game,
    newest: Path | None,
) -> int:
    """Hand the checked objects to Lightning; return the exit code."""
    speed_up(model, config.machine)
    run, every = Path(config.run), config.train
    guard, writer = Guard(every.total_nimg), checkpoints.Writer(every.keep_checkpoints, every.keep_best)
    ticks = Ticks(
        run / "metrics.jsonl",
        every=every.tick_nimg,
        total_nimg=every.total_nimg,
        skip=every.on_not_finite == "skip",
        tracker=tracker,
    )
    callbacks: list[pl.Callback] = [
        guard,
        Heartbeat(float(config.machine.timeout_seconds)),
        SelfCheck(run / "selfcheck.json", every=every.tick_nimg, works=works, ticks=ticks),
        ticks,
        BadSamples(run / "bad_samples.jsonl", every=every.tick_nimg, faults=data.dataset.faults, ticks=ticks),
        Samples(run / "samples", every=every.sample_every_nimg, seed=config.seed, tracker=tracker),
        *([] if judge is None else [Evaluate(run, config=config, judge=judge, ticks=ticks)]),
        Checkpoints(
            run / "checkpoints",
            every=every.checkpoint_every_nimg,
            writer=writer,
            ticks=ticks,
            about={"config": config.as_dict(), "fingerprint": data.index.fingerprint},
        ),
    ]
    trainer = make_trainer(config, callbacks, writer)
    if newest is not None:
        announce(f"{run}: going on from {newest.name}")
    stretches = Stretches(
        partial(data.loader, trainer), model, [c for c in callbacks if isinstance(c, Guard | EveryImages)]
    )
    trainer.fit(model, stretches, ckpt_path=newest)
    if guard.signal:
        announce(f"{run}: stopped at {model.clock.nimg:,} images, checkpoint saved; the same command goes on")
        return 130 if guard.signal == signal.SIGINT else STOPPED_BY_SIGNAL
    print_done(run, f"done: {model.clock.nimg:,} images")
    return 0


def open_judge(config: Config) -> Judge | None:
    """Return what the generator is judged by while it trains, if it is."""
    evaluation, every = config.evaluation, config.train.checkpoint_every_nimg
    if evaluation.every_nimg is None:
        return None
    if evaluation.every_nimg % every:
        raise UserError(
            f"evaluation.every_nimg: {evaluation.every_nimg} is no multiple of train.checkpoint_every_nimg, {every}; "
            "without a checkpoint of the same moment nobody could come back to what was judged"
        )
    return Judge(open_images(evaluation.data or config.data.url), make_extractor(evaluation.extractor, config.trust))


def make_trainer(config: Config, callbacks: list[pl.Callback], writer: checkpoints.Writer | None = None) -> pl.Trainer:
    """Return a Trainer without what costs time and brings a GAN nothing."""
    quiet_lightning()
    set_arithmetic(config.machine)
    world_size, here = distributed.world_size(), distributed.processes_here()
    strategy = sharding.ShardedStrategy if config.machine.shard else distributed.NoWrapStrategy
    io = WriterIO(writer or checkpoints.Writer(config.train.keep_checkpoints))
    # A collective's own timeout comes later than the heartbeat's, which can say who is missing.
    timeout = timedelta(seconds=config.machine.timeout_seconds + GRACE_SECONDS)
    trainer = pl.Trainer(
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[config.machine.device],
        devices=here,
        num_nodes=world_size // here,
        strategy=strategy(checkpoint_io=io, timeout=timeout) if world_size > 1 else "auto",
        plugins=[distributed.environment(), *([] if world_size > 1 else [io])],
        max_epochs=-1,
        benchmark=True,  # the shapes stay what they are between two phases, and cuDNN tries its ways for each once
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
    """Say one line to the person who waits: once, however many processes there are."""
    if distributed.rank() == 0:
        print(line, flush=True)


def print_done(run: Path, line: str) -> None:
    """Say where everything is."""
    newest_grid = max((run / "samples").glob("nimg-*.png"), default="none")
    announce(f"{run}: {line}")
    announce(f"  samples     {newest_grid}")
    announce(f"  metrics     {run / 'metrics.jsonl'}")
    announce(f"  checkpoint  {max(checkpoints.found(run / 'checkpoints'), default='none')}")
