"""What two processes tell each other, each in a folder of its own as if on a node of its own.

Usage: agreement.py FOLDER, which holds node0 and node1. Leaves what rank r found in `FOLDER/r.json`.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import forks
import torch
import torch.distributed as dist

from ganlab import distributed
from ganlab.engine.signals import Signals
from ganlab.experiment import checkpoints
from ganlab.types import UserError

CHECKPOINTS = Path("checkpoints")


def said(act: Callable[[], Any]) -> Any:
    """What it returns, or the mistake that it names."""
    try:
        return act()
    except UserError as error:
        return f"refused: {error}"


def refuse(text: str) -> None:
    raise UserError(text)


def resumed(rank: int, fingerprint: str = "f") -> Any:
    """Where the run would go on, with what this rank sees; rank 0 chooses."""

    def act() -> int | None:
        def choose() -> checkpoints.Choice | None:
            newest = checkpoints.newest(CHECKPOINTS)
            return newest and checkpoints.choice_of(*newest)

        choice = distributed.decide(choose)
        saved = checkpoints.read_agreed(choice, CHECKPOINTS, fingerprint)
        return saved and saved["ganlab"]["clock"]["nimg"]

    found = said(act)
    dist.barrier()
    return found


def write(nimg: int, attempt: int = 0) -> None:
    writer = checkpoints.Writer(keep=3)
    ours = {"clock": {"nimg": nimg}, "attempt": attempt}
    writer.submit({"ganlab": ours, "config": {}, "w": torch.ones(3)}, checkpoints.path_at(CHECKPOINTS, nimg))
    writer.wait()


def going_on(rank: int) -> dict[str, Any]:
    """Each way in which two nodes may see the checkpoints."""
    CHECKPOINTS.mkdir()
    found = {"nothing": resumed(rank)}
    if rank == 0:
        write(64)
    found["rank 0 alone"] = resumed(rank)
    if rank == 1:
        write(64, attempt=1)
    found["another attempt"] = resumed(rank)
    if rank == 1:
        shutil.copytree(Path("../node0/checkpoints"), CHECKPOINTS, dirs_exist_ok=True)
    found["the same"] = resumed(rank)
    found["other data"] = resumed(rank, f"{rank}")
    if rank == 1:
        write(128)
    found["rank 1 has a newer one"] = resumed(rank)
    if rank == 0:
        shutil.rmtree(CHECKPOINTS)
    found["rank 1 alone"] = resumed(rank)
    return found


def differing(rank: int) -> dict[str, list[str]]:
    weights = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    step = torch.randn(1000, generator=torch.Generator().manual_seed(rank))
    cases = {
        "the same": weights,
        "rounding": weights * (1 + rank * 1e-6),
        "a step alone": weights + 0.01 * step,
        "a count": torch.tensor(10_000 + rank),
        "not a number": torch.tensor([float("nan"), 1.0]),
        "infinite": torch.tensor([float("inf"), 1.0]),
    }
    return {name: distributed.differing([(name, value)]) for name, value in cases.items()}


def stopped(rank: int, seconds: float, number: int) -> dict[str, float]:
    """Steps of so many seconds, of which rank 1 gets a signal in the midst: who stops when, and after how long."""
    steps, begin, sent = 0, time.monotonic(), 0.0
    dist.barrier()
    signals = Signals()
    with signals:
        while not (stop := signals.agreed(torch.device("cpu"))):
            time.sleep(seconds)
            steps += 1
            if not sent and time.monotonic() > begin + 2.5:
                sent = time.monotonic()
                if rank == 1:
                    signal.raise_signal(number)
            assert steps < 100_000
    return {"signal": stop, "steps": steps, "seconds": time.monotonic() - sent, "every": signals.every}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    os.chdir(folder / f"node{rank}")
    found = {
        "decided": said(lambda: distributed.decide(lambda: f"of rank {rank}")),
        "refused": said(lambda: distributed.decide(lambda: refuse(f"by rank {rank}"))),
        "agreed": said(lambda: distributed.agree(None)),
        "one fails": said(lambda: distributed.agree("no disk" if rank == 1 else None)),
        "going on": going_on(rank),
        "differing": differing(rank),
        "fast steps": stopped(rank, 0.001, signal.SIGTERM),
        "slow steps": stopped(rank, 0.7, signal.SIGUSR1),
    }
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()


if __name__ == "__main__":
    sys.exit(any(forks.finish(*forks.job(2, partial(main, Path(sys.argv[1]))))))
