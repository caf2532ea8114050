"""Two ranks of plain Lightning strategies and of our loop.

Usage: plain_ddp.py OUT SHARDS. Rank r writes `OUT/<case>-<r>.pt`: the weights, and the bytes that each step sent.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import forks
import games
import pytorch_lightning as pl
import tiny
import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy

from ganlab import distributed
from ganlab.augment import MirrorFlip
from ganlab.data.read.module import ShardData
from ganlab.engine import gradients, loop
from ganlab.engine.runtime import Runtime
from ganlab.engine.signals import Signals
from ganlab.engine.state import seat
from ganlab.experiment.frame import Machine
from ganlab.experiment.launch import open_group
from ganlab.regularizers import R1, R2
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec

STEPS, BATCH = 10, 8
GAME = {
    "regularizers": {"r1": R1(weight=2.0, every=2), "r2": R2(weight=1.0)},
    "augment": MirrorFlip(),
    "generator_batch": 2.0,
    "discriminator_steps": 2,
}


class Stream:
    """Batches as they are: a bare list would be a list of loaders, and a DataLoader would be sampled again."""

    def __init__(self, batches):
        self.batches = list(batches)

    def __iter__(self):
        return iter(self.batches)


def reducer_asleep(_: object, bucket: dist.GradBucket) -> None:
    """A hook on DDP's own reduction, which `dist.all_reduce` does not show."""
    raise AssertionError(f"DDP reduced {bucket.buffer().numel()} numbers by itself")


def two_players(**settings):
    return tiny.game(**GAME, **settings)


def autoencoder(**settings):
    """An adversarial autoencoder, whose third player steps every second time."""
    seed_everything(2)
    return games.Autoencoder(image=ImageSpec(8, 8, 1), runtime=Runtime(precision="fp64", group=2, **settings))


CASES = {
    "ddp": (lambda: "ddp", {}),
    "ddp find unused": (lambda: "ddp_find_unused_parameters_true", {}),
    "ddp reducer asleep": (lambda: DDPStrategy(ddp_comm_hook=reducer_asleep), {}),
    "loop": (None, {}),
    "loop, small buckets": (None, {"bucket_bytes": 1000}),
    "loop, micro-batches": (None, {"micro_batch": 2}),
    "loop, twice": (None, {"fits": 2}),
    "ddp, twice": (lambda: "ddp", {"fits": 2}),
    "ddp, shards": (lambda: "ddp", {"packed": True}),
    "loop, shards": (None, {"packed": True}),
    "loop, rank 1 not finite": (None, {"bad": True}),
    "loop, other beginnings": (None, {"beginnings": True}),
    "ddp, three players": (lambda: "ddp", {"make": autoencoder}),
    "loop, three players": (None, {"make": autoencoder}),
}


@contextmanager
def counted(module) -> Iterator[list[tuple[str, int, int]]]:
    """Record the player of every step, the bytes it sent and the number of calls."""
    sent, steps = [], []
    all_reduce, step = dist.all_reduce, module.step

    def counting(tensor, *args, **kwargs):
        sent.append(tensor.numel() * tensor.element_size())
        return all_reduce(tensor, *args, **kwargs)

    def noted(name, *args):
        sent.clear()
        step(name, *args)
        steps.append((name, sum(sent), len(sent)))

    dist.all_reduce, module.step = counting, noted
    try:
        yield steps
    finally:
        dist.all_reduce = all_reduce
        del module.step


def fit(module, data, strategy) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=strategy,
        max_steps=STEPS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    assert trainer.global_step == STEPS


def play(
    strategy,
    shards,
    *,
    make=two_players,
    bucket_bytes=25 * 2**20,
    micro_batch=None,
    fits=1,
    bad=False,
    beginnings=False,
    packed=False,
):
    gradients.BUCKET_BYTES = bucket_bytes
    module = make(micro_batch=micro_batch)
    rank = distributed.rank()
    if beginnings:
        with torch.no_grad():
            for tensor in module.parameters():
                tensor.add_(rank)
    share = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    stream = Stream((images[share], labels[share]) for images, labels in tiny.batches(STEPS, BATCH))
    if bad and rank == 1:
        stream.batches[4][0][1, 0, 3, 3] = float("inf")
    with counted(module) as steps:
        for _ in range(fits):
            data = ShardData(shards, batch=BATCH) if packed else stream
            if strategy is None:
                device = open_group(Machine(device="cpu"))
                seat(module, device, shard=False)
                batches = data.loader(module, device) if packed else data
                end = module.clock.nimg + STEPS * BATCH
                loop.fit(module, batches, Signals(), total_nimg=end, tasks=[])
            else:
                fit(module, data, strategy())
    return {"state": module.state_dict(), "steps": steps, "nimg": module.clock.nimg} | {
        "statistics": module.statistics.read()
    }


def main(out, shards) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name, (strategy, options) in CASES.items():
        torch.save(play(strategy, shards, **options), Path(out) / f"{name}-{distributed.rank()}.pt")
    games.destroy()


if __name__ == "__main__":
    sys.exit(any(forks.finish(*forks.job(2, partial(main, *sys.argv[1:])))))
