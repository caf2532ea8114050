"""Two processes of which one cannot do its part of an evaluation: both say why.

`python tests/launched/one_rank_fails.py`
"""

import sys
from datetime import timedelta

import forks
import torch.distributed as dist

from ganlab.evaluation.store import on_all
from ganlab.types import UserError


def work() -> None:
    if dist.get_rank() == 1:
        raise UserError("image 7: bad")


def main() -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=20))
    try:
        on_all(work)
    except UserError as error:
        print(error, flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(any(forks.finish(*forks.job(2, main))))
