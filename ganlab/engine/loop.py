"""The loop of training, from the first step to the last."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ganlab.engine.batch import named
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals

Reals = Sequence[Tensor] | Mapping[str, Tensor]
"""Images [n, c, h, w] and labels [n], this rank's, and what else the data have: see `Game.training_step`."""


@runtime_checkable
class Task(Protocol):
    """What a run does between rounds, on all ranks: measuring, saving, judging, showing."""

    def start(self, module: Game) -> None:
        """Start; the players are seated, and no step has been made yet."""

    def after_step(self, module: Game, last: bool) -> None:
        """Do what is due after a round; `last` is true for the run's last one."""

    def end(self) -> None:
        """Finish, after the last round or a signal."""

    def failed(self, error: BaseException) -> None:
        """Finish after an error on this rank; the others may be inside a collective."""


def fit(
    module: Game,
    batches: Iterable[Reals],
    signals: Signals,
    *,
    total_nimg: int,
    tasks: Sequence[Task],
    saving: Task | None = None,
) -> int:
    """Train a seated module until its clock shows `total_nimg`; return the signal that stopped it, 0 for none.

    Args:
        module: seated (`state.seat`).
        batches: endless, starting at the module's clock.
        signals: handled while this runs.
        total_nimg: real images shown in the whole run.
        tasks: run after each round in this order: measure, save, judge, show.
        saving: the task that saves: after a signal only it runs.
    """
    with signals:
        try:
            for task in tasks:
                task.start(module)
            stop = make_steps(module, batches, signals, total_nimg, tasks, saving)
            for task in tasks:
                task.end()
        except BaseException as error:
            for task in tasks:
                task.failed(error)
            raise
    return stop


def make_steps(
    module: Game,
    batches: Iterable[Reals],
    signals: Signals,
    total_nimg: int,
    tasks: Sequence[Task],
    saving: Task | None,
) -> int:
    """Make round after round, each followed by the tasks; return the signal that ended them, 0 for none."""
    device = module.device
    with closing(on_device(iter(batches), device)) as stream:
        for number in count():
            if module.clock.nimg >= total_nimg:
                break
            with module.stopwatch("data"):
                batch = next(stream)
            module.training_step(batch, number)
            if stop := signals.agreed(device):
                if saving is not None:
                    saving.after_step(module, last=True)
                return stop
            last = module.clock.nimg >= total_nimg
            for task in tasks:
                task.after_step(module, last)
    return 0


def on_device(batches: Iterator[Reals], device: torch.device) -> Generator[Reals, None, None]:
    """Copy batches to a GPU on their own stream, while it computes on the one before."""
    if device.type != "cuda":
        yield from batches
        return
    stream, playing = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    for batch in batches:
        with torch.cuda.stream(stream):
            copied = {name: tensor.to(device, non_blocking=True) for name, tensor in named(batch).items()}
        playing.wait_stream(stream)
        for tensor in copied.values():
            tensor.record_stream(playing)
        yield copied
