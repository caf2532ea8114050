"""Forks a process for each script, from this one that has imported everything: importing takes longer than most tests.

Reads requests from its standard input, one a line as JSON: a script with its arguments, its environment, and a file
for what it says. Answers each with the script's exit code.
"""

import gc
import json
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

import forks
import quick
import wandb.sdk.launch  # noqa: F401 (before the forks, as the others: `wandb.init` does it)

import ganlab.commands.evaluate
import ganlab.commands.train  # noqa: F401


def run(script: str, *arguments: str, environment: Mapping[str, str]) -> None:
    """Run a script as Python would."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    quick.install()
    gc.collect()
    gc.freeze()  # a child need not search all this for garbage
    for line in sys.stdin:
        words, environment, log = json.loads(line)
        print(*forks.finish(forks.fork(lambda: run(*words, environment=environment), Path(log))), flush=True)  # noqa: B023 (at once)
