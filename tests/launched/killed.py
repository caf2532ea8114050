"""A run of `ganlab train` that is killed with SIGKILL again and again, and resumed each time.

Usage: killed.py CONFIG FOLDER KILLS SEED [TRUSTED PACKAGE ...]. Trains `FOLDER/undisturbed` in one go and
`FOLDER/killed` in KILLS + 1 processes, and prints the kills as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import forks

import ganlab.commands.train  # noqa: F401 (before the forks)
from ganlab.cli import main
from ganlab.experiment.config import load
from ganlab.experiment.frame import Train

PATIENCE = 120.0
"""Seconds within which a process must come to its next kill, or to its end."""


@dataclass(frozen=True)
class Kill:
    """One kill: when it was due, what the run had told by then, and what lay half-written in `checkpoints`."""

    due: int
    nimg: int
    torn: list[str]


def start(arguments: list[str], log: Path) -> int:
    """Start `ganlab train ARGUMENTS`; return its process id."""
    return forks.fork(lambda: main(["train", *arguments]), log)


def to_the_end(arguments: list[str], log: Path) -> None:
    """Train until the run is done."""
    assert forks.finish(start(arguments, log)) == [0], log.read_text()


def told(metrics: Path, stale: int | None) -> int:
    """Return the images of the last whole line; 0 while the file is still the one that the last process left."""
    if not metrics.exists() or metrics.stat().st_ino == stale:
        return 0
    lines = metrics.read_text().split("\n")[:-1]
    return json.loads(lines[-1])["nimg"] if lines else 0


def kill(arguments: list[str], run: Path, log: Path, due: int, delay: float | None) -> Kill:
    """Train until `due` images, wait `delay` seconds more, or until a checkpoint is being written (None), and kill."""
    metrics, checkpoints = run / "metrics.jsonl", run / "checkpoints"
    stale = metrics.stat().st_ino if metrics.exists() else None  # a process that goes on writes a new file
    pid = start(arguments, log)
    end = time.monotonic() + PATIENCE

    def wait(until: Callable[[], bool], pause: float) -> None:
        while not until():
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), f"ended before {due} images:\n{log.read_text()}"
            assert time.monotonic() < end, f"{PATIENCE:g} s and no {due} images:\n{log.read_text()}"
            time.sleep(pause)

    try:
        wait(lambda: told(metrics, stale) >= due, pause=0.005)
        if delay is None:  # a checkpoint is written within milliseconds
            wait(lambda: any(checkpoints.glob("*.tmp")), pause=0.0002)
        time.sleep(delay or 0.0)
    finally:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, log.read_text()
    return Kill(due, told(metrics, stale), sorted(path.name for path in checkpoints.glob("*.tmp")))


def kills(arguments: list[str], run: Path, log: Path, draw: random.Random, number: int, train: Train) -> Iterator[Kill]:
    """Kill so often, at moments drawn over the run, every third one while a checkpoint is written; then let it end."""
    last = train.total_nimg // train.batch - 20  # so that the process does not end by itself before it is killed
    for count, step in enumerate(sorted(draw.choices(range(1, last), k=number))):
        delay = draw.uniform(0, 0.05)
        yield kill(arguments, run, log, step * train.batch, None if count % 3 == 0 else delay)
    to_the_end(arguments, log)


def undisturbed_and_killed(
    config: Path, overrides: list[str], folder: Path, number: int, seed: int, trust: Sequence[str] = ()
) -> list[Kill]:
    """Train `folder / "undisturbed"` and `folder / "killed"`."""
    words = [*overrides, *(word for prefix in trust for word in ("--trust", prefix))]
    runs = {name: [str(config), f"run={folder / name}", *words] for name in ("undisturbed", "killed")}
    to_the_end(runs["undisturbed"], folder / "undisturbed.log")
    train, draw = load(config, overrides, trust=trust).train, random.Random(seed)
    return list(kills(runs["killed"], folder / "killed", folder / "killed.log", draw, number, train))


if __name__ == "__main__":
    path, place, count, seed, *trusted = sys.argv[1:]
    made = undisturbed_and_killed(Path(path), [], Path(place), int(count), int(seed), trusted)
    print(json.dumps([asdict(kill) for kill in made]))
