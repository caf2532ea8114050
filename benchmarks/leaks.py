"""What a long run does not give back: memory, open files and threads over 10,000 rounds of a small game with images.

The run is `ganlab train` of the shipped game of 2014, 8 wide, on random images from shards, with ticks, pictures and
checkpoints. Prints a row for each tenth of it; ends with 1 if the second half has more files or threads open at
once, or if in the median tenth memory grows by more than a tenth of a kilobyte a round.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import click

import ganlab.commands.train  # before the fork
from ganlab.cli import main as ganlab
from ganlab.experiment.config import load

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "launched")]

import forks  # noqa: E402
from killed import told  # noqa: E402
from soak import BATCH, shrinking  # noqa: E402

CONFIG = "digits/gan.yaml"
MOST = 100
"""Bytes of a round that are no leak: allocators do not give back all that is free."""


def held(pid: int) -> tuple[int, int, int]:
    """Return a process's resident bytes, open files and threads."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    files, threads = (len(list((process / name).iterdir())) for name in ("fd", "task"))
    return pages * os.sysconf("SC_PAGE_SIZE"), files, threads


def rows(rounds: int, folder: Path) -> list[tuple[int, int, int, int]]:
    """Train; return the rounds so far and what is held, for each tenth."""
    path = REPOSITORY / "configs" / CONFIG
    words = [str(path), *shrinking(load(path), CONFIG, folder, 1), f"run={folder / 'run'}"]
    words += [f"train.total_nimg={rounds * BATCH}", f"train.tick_nimg={20 * BATCH}"]
    words += [f"train.{what}_every_nimg={200 * BATCH}" for what in ("sample", "checkpoint")]
    pid, found = forks.fork(lambda: ganlab(["train", *words]), folder / "log"), []
    try:
        while len(found) < 9:
            seen = told(folder / "run/metrics.jsonl", None) // BATCH
            if seen >= (len(found) + 1) * rounds / 10:
                found.append((seen, *held(pid)))
                _, memory, files, threads = found[-1]
                print(f"{seen:7,} rounds {memory / 2**20:8.1f} MiB {files:4} files {threads:4} threads", flush=True)
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), (folder / "log").read_text()
            time.sleep(0.02)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    assert forks.finish(pid) == [0], (folder / "log").read_text()
    return found


@click.command()
@click.option("--rounds", default=10_000, show_default=True)
def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        _, *found = rows(rounds, Path(place))
    # A heap grows by a step of megabytes now and then; a leak grows in every tenth.
    growth = statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(found))
    # A file is open while a shard is read or a line written: their number goes up and down by two.
    files, threads = (max(row[at] for row in found[4:]) - max(row[at] for row in found[:4]) for at in (2, 3))
    whole = (found[-1][1] - found[0][1]) / 2**20
    print(f"memory grows by {growth:.0f} bytes a round in the median tenth, {whole:.1f} MiB in all")
    print(f"the most files grow by {files}, the most threads by {threads}")
    sys.exit(growth > MOST or files > 0 or threads > 0)


if __name__ == "__main__":
    main()
