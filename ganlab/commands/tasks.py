"""What `train` does between rounds: its tasks, in their order, with what they write to and judge by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ganlab.callbacks import (
    BadSamples,
    Checkpoints,
    Evaluations,
    Phases,
    SamplePictures,
    SelfCheck,
    Table,
    TensorBoard,
    Ticks,
    Tracker,
    Trackers,
    WandB,
)
from ganlab.callbacks.evaluate import Judge
from ganlab.data.read.module import ShardData
from ganlab.engine.game import Game
from ganlab.engine.loop import Task
from ganlab.engine.signals import Signals
from ganlab.evaluation.evaluate import check_names, make_extractor
from ganlab.evaluation.images import open_reals
from ganlab.evaluation.measures import check_best, higher_is_better
from ganlab.evaluation.points import fitting
from ganlab.experiment import checkpoints
from ganlab.experiment.frame import Config
from ganlab.experiment.records import Events
from ganlab.experiment.work import Work
from ganlab.types import UserError


@dataclass(frozen=True)
class Run:
    """The checked parts of a run that stay the same over rollbacks."""

    config: Config
    data: ShardData
    judge: Judge | None
    works: Mapping[int, Work] | Exception
    device: torch.device
    events: Events
    allow_change: Sequence[str]

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.config.run)


def make_tasks(run: Run, trackers: Trackers | None, signals: Signals) -> tuple[list[Task], Task]:
    """Return the tasks of a run in the order measure, save, judge, show; and the one that saves."""
    config, folder = run.config, run.folder
    every = config.train
    writer = checkpoints.Writer(
        every.keep_checkpoints, every.keep_best, highest=higher_is_better(every.keep_best), events=run.events
    )
    ticks = Ticks(
        folder / "metrics.jsonl",
        every=every.tick_nimg,
        checkpoint_every=every.checkpoint_every_nimg,
        total_nimg=every.total_nimg,
        signals=signals,
        skip=every.on_not_finite == "skip",
        trackers=trackers,
        events=run.events,
    )
    measuring: list[Task] = [
        SelfCheck(folder / "selfcheck.json", every=every.tick_nimg, works=run.works, ticks=ticks),
        ticks,
        Phases(run.events),
        *bad_samples(run, ticks),
    ]
    saving = Checkpoints(
        folder / "checkpoints",
        every=every.checkpoint_every_nimg,
        signals=signals,
        writer=writer,
        ticks=ticks,
        about={"config": config.as_dict(), "fingerprint": run.data.fingerprint},
    )
    judging: list[Task] = []
    if (judge := run.judge) is not None:
        judged = Evaluations(
            folder, config=config, judge=judge, ticks=ticks, writer=writer, events=run.events, signals=signals
        )
        judging.append(judged)
    showing = SamplePictures(
        folder / "samples",
        every=every.sample_every_nimg,
        signals=signals,
        seed=config.seed,
        trackers=trackers,
        url=config.data.url,
        streams=[dataset for dataset in (run.data.dataset, run.data.other) if dataset is not None],
    )
    return [*measuring, saving, *judging, showing], saving


def bad_samples(run: Run, ticks: Ticks) -> list[Task]:
    """Return a task for each stream, which writes down its bad samples."""
    streams = {"bad_samples.jsonl": run.data.dataset, "bad_samples_other.jsonl": run.data.other}
    every = run.config.train.tick_nimg
    return [
        BadSamples(run.folder / name, every=every, faults=dataset.faults, ticks=ticks, events=run.events)
        for name, dataset in streams.items()
        if dataset is not None
    ]


def make_trackers(run: Run) -> Trackers:
    """Start the trackers; of W&B a new run for each attempt, so that a failed attempt's values are not mixed in."""
    logging = run.config.logging
    trackers: list[Tracker] = [WandB(run.folder, logging.wandb, logging.project, run.config.as_dict())]
    if logging.tensorboard:
        trackers.append(TensorBoard(run.folder))
    if logging.csv:
        trackers.append(Table(run.folder))
    return Trackers(trackers)


def open_judge(config: Config, model: Game) -> Judge | None:
    """Return the reals and the extractor of evaluations during training; None if there are none."""
    evaluation, every = config.evaluation, config.train.checkpoint_every_nimg
    if evaluation.every_nimg is None:
        check_best(config.train.keep_best, ())
        return None
    if not model.latent:
        raise UserError(
            f"evaluation.every_nimg: {type(model).__name__} makes no images of a seed; leave it out"
            + "; `ganlab evaluate RUN` compares what it makes of real images" * model.remakes()
        )
    if evaluation.every_nimg % every:
        raise UserError(
            f"evaluation.every_nimg: {evaluation.every_nimg} is no multiple of train.checkpoint_every_nimg, {every}; "
            "each evaluation needs a checkpoint at the same time"
        )
    reals = open_reals(config)
    metrics = evaluation.metrics or fitting(reals)
    check_names(metrics)
    check_best(config.train.keep_best, metrics)
    return Judge(reals, metrics, make_extractor(evaluation.extractor, config.trust))
