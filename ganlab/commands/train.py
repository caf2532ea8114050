"""The verb `train`: check everything, assemble the objects, train, and report where the files are."""

import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path

from ganlab import distributed
from ganlab.callbacks import Heartbeat, NotFiniteError
from ganlab.callbacks.evaluate import is_owed
from ganlab.commands.tasks import Run, make_tasks, make_trackers, open_judge
from ganlab.data.read.base import Dataset
from ganlab.data.read.module import ShardData
from ganlab.engine.game import Game
from ganlab.engine.loop import fit
from ganlab.engine.signals import Signals
from ganlab.engine.state import seat, with_own_scales
from ganlab.evaluation.protocol import machine
from ganlab.experiment import checkpoints
from ganlab.experiment.build import build_model, count_work, open_dataset, open_other, set_arithmetic, speed_up
from ganlab.experiment.checkpoints import Choice
from ganlab.experiment.checks import (
    check_allowed,
    check_growth,
    check_resume,
    check_run,
    check_shapes,
    count_labels,
    with_facts,
)
from ganlab.experiment.config import to_yaml
from ganlab.experiment.folder import as_begun, fill, locked
from ganlab.experiment.frame import Config
from ganlab.experiment.launch import join, open_group
from ganlab.experiment.origin import Origin, take_weights
from ganlab.experiment.records import CUT, Events, cut_after
from ganlab.experiment.work import Work
from ganlab.stopping import STOPPED_BY_SIGNAL
from ganlab.types import UserError

COUNTED: dict[str, Mapping[int, Work]] = {}
"""The work of configs, but for seed and folder: many seeds in one process count it once."""


def train(config: Config, allow_change: Sequence[str] = ()) -> int:
    """Train, or resume from the newest checkpoint; return the exit code.

    Args:
        config: the checked config.
        allow_change: keys that may differ from the checkpoint's config; `*` is a wildcard.
    """
    join(config.machine)
    with ExitStack() as opened:
        dataset = opened.enter_context(closing(open_dataset(config)))
        if (other := open_other(config)) is not None:
            opened.enter_context(closing(other))
        return train_on(dataset, other, config, allow_change)


def train_on(dataset: Dataset, other: Dataset | None, config: Config, allow_change: Sequence[str]) -> int:
    """Make the remaining checks, join the other processes, and train; return the exit code."""
    data = ShardData(
        dataset,
        batch=config.train.batch,
        seed=config.seed,
        threads=config.machine.decode_threads,
        mirror=config.data.mirror,
        other=other,
        mirror_other=config.data.other is not None and config.data.other.mirror,
    )
    config = with_facts(as_begun(config, allow_change), dataset, other)
    model = build_model(config)
    check_run(config, model, dataset)
    if not checkpoints.found(Path(config.run) / "checkpoints"):
        check_allowed(allow_change, config.as_dict())
    labels_found = list(count_labels(config, model, dataset, other))
    judge = open_judge(config, model)
    works = try_to_count(config, model)
    set_arithmetic(config.machine)
    # All mistakes of a config are found before the processes wait for each other.
    device = open_group(config.machine)
    for line in labels_found:
        announce(line)
    with Heartbeat(float(config.machine.timeout_seconds)):
        events = Events(Path(config.run) / "events.jsonl")
        run = Run(config, data, judge, works, device, events, allow_change)
        with locked(run.folder):
            return start(run, model)


def start(run: Run, model: Game) -> int:
    """Train from the newest checkpoint, and roll back as often as the config allows; return the exit code."""
    config, allowed = run.config.train, run.config.train.rollbacks
    if empty := run.data.dataset.empty_classes():
        few = f"{', '.join(empty[:3])}{', ...' * (len(empty) > 3)}"
        announce(f"{run.config.data.url}: {len(empty):,} of {run.data.image.classes:,} classes have no image: {few}")
    choice = distributed.decide(lambda: choose(run, model))
    owes = distributed.decide(lambda: choice is not None and is_owed(run.folder, run.config, choice.nimg))
    if choice is not None and choice.nimg >= config.total_nimg and not owes:
        print_done(run.folder, f"already done: {choice.nimg:,} images; for more set train.total_nimg above that")
        return 0
    origin = distributed.decide(lambda: None if choice else take(run, model))
    fill(run.folder, run.config)
    here = machine(run.device)
    if choice is not None:
        run.events.add("resume", choice.nimg, choice.attempt, file=Path(choice.path).name, **here)
    else:
        run.events.add("start", 0, 0, **here, **({"from": asdict(origin)} if origin else {}))
    while True:
        try:
            return go_on(run, model, choice)
        except NotFiniteError as error:
            if config.on_not_finite != "rollback" or not allowed:
                raise
            allowed -= 1
            distributed.barrier()  # rank 0 may still be writing
            model = build_model(run.config, attempt=model.runtime.attempt + 1)
            choice = distributed.decide(lambda model=model: choose(run, model))  # type: ignore[misc]
            if choice is None and distributed.rank() == 0:
                take(run, model)
            to = Path(choice.path).name if choice else "the start"
            announce(f"{error}; rolling back to {to}")
            run.events.add("rollback", choice.nimg if choice else 0, model.runtime.attempt, to=to)


def choose(run: Run, model: Game) -> Choice | None:
    """Return the newest undamaged checkpoint after checking that it fits this run; None if there is none."""
    if (newest := checkpoints.newest(run.folder / "checkpoints")) is None:
        return None
    path, saved = newest
    check_growth(run.config.data.url, run.data.dataset, saved["fingerprint"], run.allow_change)
    check_resume(path, saved, run.config, run.data.fingerprint, run.allow_change)
    check_shapes(path, {**saved, "state_dict": with_own_scales(saved["state_dict"], model)}, model)
    return checkpoints.choice_of(path, saved)


def take(run: Run, model: Game) -> Origin | None:
    """Copy the weights that a run starts from, if it does, and say what did not fit; on rank 0: `seat` shares them."""
    if run.config.train.start_from is None:
        return None
    origin = take_weights(model, Path(run.config.train.start_from))
    for line in origin.lines():
        announce(line)
    return origin


def go_on(run: Run, model: Game, choice: Choice | None) -> int:
    """Train from a checkpoint, or from the start, to the end or a signal; return the exit code."""
    speed_up(model, run.config.machine)
    saved = checkpoints.read_agreed(choice, run.folder / "checkpoints", run.data.fingerprint)
    seat(model, run.device, saved, shard=run.config.machine.shard)
    del saved
    if choice is not None:
        announce(f"{run.folder}: resuming from {Path(choice.path).name}")
    if distributed.rank() == 0:
        for name in CUT:
            cut_after(model.clock.nimg, run.folder / name)
    trackers = make_trackers(run) if distributed.rank() == 0 else None
    signals = Signals(is_new=choice is None)
    tasks, saving = make_tasks(run, trackers, signals)
    batches = run.data.loader(model, run.device)
    try:
        stop = fit(model, batches, signals, total_nimg=run.config.train.total_nimg, tasks=tasks, saving=saving)
    finally:
        if trackers is not None:
            trackers.finish()
    nimg, code = model.clock.nimg, 130 if stop == signal.SIGINT else STOPPED_BY_SIGNAL
    if stop:
        run.events.add("stop", nimg, model.runtime.attempt, signal=signal.Signals(stop).name, code=code)
        announce(f"{run.folder}: stopped at {nimg:,} images, checkpoint saved; the same command resumes it")
        return code
    run.events.add("done", nimg, model.runtime.attempt)
    print_done(run.folder, f"done: {nimg:,} images")
    return 0


def try_to_count(config: Config, model: Game) -> Mapping[int, Work] | Exception:
    """Count the model's work; return an error instead of raising it, since training does not need the count."""
    same = to_yaml(replace(config, seed=0, run=""))
    try:
        if same not in COUNTED:
            COUNTED[same] = count_work(config, model)
        return COUNTED[same]
    except UserError:
        raise  # the losses ask for what the data do not have
    except Exception as error:
        return error


def announce(line: str) -> None:
    """Print one line, on rank 0."""
    if distributed.rank() == 0:
        print(line, flush=True)


def print_done(run: Path, line: str) -> None:
    """Print where the files are."""
    newest_grid = max((run / "samples").glob("nimg-*.png"), default="none")
    announce(f"{run}: {line}")
    announce(f"  samples     {newest_grid}")
    announce(f"  metrics     {run / 'metrics.jsonl'}")
    announce(f"  checkpoint  {max(checkpoints.found(run / 'checkpoints'), default='none')}")
