"""Evaluates a run on however many processes launched it; leaves the values, or dies of a kill in the middle.

`torchrun --standalone --nproc-per-node N tests/launched/evaluation.py RUN EXTRACTOR OUT [BLOCKS]`
"""

import json
import os
import signal
import sys
from pathlib import Path

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

    def counted(model: GANModule, *arguments: object) -> object:
        made.append(arguments)
        if len(made) > blocks:
            os.kill(os.getpid(), signal.SIGKILL)
        return synthesize(model, *arguments)

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


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]) if len(sys.argv) > 4 else 1_000_000)
