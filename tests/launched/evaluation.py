"""Evaluates a run on one process, on two, and on four after two that were killed in the middle.

Usage: evaluation.py RUN EXTRACTOR OUT. Leaves the values in OUT/1/values.json, 2/values.json and 4/values.json, and in
OUT/killed.json how those that were killed ended.
"""

import json
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import forks
import torch

from ganlab import distributed
from ganlab.commands.evaluate import evaluate_paths
from ganlab.evaluation import store
from ganlab.models import GANModule

METRICS = ["fid", "kid", "prdc", "intra_fid", "msssim"]


def main(run: Path, extractor: Path, out: Path, blocks: int) -> None:
    torch.set_num_threads(1)
    store.CHUNK = 64
    synthesize, made = GANModule.synthesize, []

    def counted(model: GANModule, *arguments: object, **options: object) -> object:
        made.append(arguments)
        if len(made) > blocks:
            os.kill(os.getpid(), signal.SIGKILL)
        return synthesize(model, *arguments, **options)

    GANModule.synthesize = counted  # type: ignore[assignment,method-assign]
    table = evaluate_paths(str(run), None, metrics=METRICS, data=None, extractor=extractor, n=500, trust=())
    if distributed.rank() == 0:
        assert table
        rows = map(json.loads, (run / "results.jsonl").read_text().splitlines())
        parts = ("value", "standard_error", "floor")
        values = {f"{row['metric']} {part}": row[part] for row in rows for part in parts if row[part] is not None}
        out.write_text(json.dumps({"values": values, "made": len(made)}))
    else:
        assert not table


def start(processes: int, run: Path, extractor: Path, folder: Path, cache: Path, blocks: int = 1_000_000) -> list[int]:
    """Start the evaluation of a copy of the run, with its cache in a folder; return the ids of the processes."""
    shutil.copytree(run, folder / "run")
    act = partial(main, folder / "run", extractor, folder / "values.json", blocks)
    return forks.job(processes, act, GANLAB_CACHE=cache)


def run_all(run: Path, extractor: Path, out: Path) -> None:
    begin = partial(start, run=run, extractor=extractor)
    jobs = [*begin(1, folder=out / "1", cache=out / "1"), *begin(2, folder=out / "2", cache=out / "2")]
    assert not any(forks.finish(*jobs))
    killed = begin(2, folder=out / "killed", cache=out / "4", blocks=3)
    ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in killed]  # each comes to its own kill
    (out / "killed.json").write_text(json.dumps(ended))
    assert not any(forks.finish(*begin(4, folder=out / "4", cache=out / "4")))


if __name__ == "__main__":
    run_all(*map(Path, sys.argv[1:]))
