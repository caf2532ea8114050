"""A run in one go on one process, and one that is half done on two and goes on on one and on four.

Usage: elastic.py FOLDER CONFIG HALF WHOLE, the last two overrides. Leaves the runs `1`, `2`, `2-1` and `2-4`.
"""

import shutil
import sys
from pathlib import Path

import forks

import ganlab.commands.train  # noqa: F401 (before the forks)
from ganlab.cli import main


def start(processes: int, run: Path, *words: str) -> list[int]:
    """Start `ganlab train` on so many processes; return their ids."""
    return forks.job(processes, lambda: main(["train", *words, f"run={run}"]), run.with_name(f"log-{run.name}"))


if __name__ == "__main__":
    folder, config, half, whole = Path(sys.argv[1]), *sys.argv[2:]
    assert not any(forks.finish(*start(2, folder / "2", config, half), *start(1, folder / "1", config, whole)))
    for name in ("2-1", "2-4"):
        shutil.copytree(folder / "2", folder / name)
    rest = [pid for count in (1, 4) for pid in start(count, folder / f"2-{count}", config, whole)]
    assert not any(forks.finish(*rest))
