"""Two processes of which one cannot do its part of an evaluation: both say why.

`python tests/launched/one_rank_fails.py`
"""

import os
import sys
import tempfile
from datetime import timedelta

import torch.distributed as dist

from ganlab.evaluation.store import on_all
from ganlab.types import UserError

RANKS = 2


def work() -> None:
    if dist.get_rank() == 1:
        raise UserError("image 7: bad")


def rank(number: int, meeting: str) -> None:
    patience = timedelta(seconds=20)
    dist.init_process_group("gloo", f"file://{meeting}", rank=number, world_size=RANKS, timeout=patience)
    try:
        on_all(work)
    except UserError as error:
        print(error, flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    meeting = f"{tempfile.mkdtemp()}/meeting"
    children = []
    for number in range(RANKS):
        if not (child := os.fork()):
            rank(number, meeting)
            os._exit(0)
        children.append(child)
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))
