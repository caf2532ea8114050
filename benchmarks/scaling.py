"""Weak scaling, bytes reduced per round, and what a checkpoint costs.

One and two gloo processes, one thread each, take turns; each process has the same share of images. Prints medians over
rounds, and the ratio (images/s of two processes) / (2 x images/s of one): for DCGAN with batch norm over the images of
all processes (a small reduction per layer and pass) and over fixed groups (none).
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import torch
import torch.distributed as dist
from pytorch_lightning import seed_everything

from ganlab.engine.runtime import Runtime
from ganlab.experiment.checkpoints import Writer
from ganlab.models import DCGAN
from ganlab.types import ImageSpec

SHARE, WARM_UP, STEPS = 32, 3, 20
IMAGE = ImageSpec(32, 32, 3)


def make_model(group: int | None) -> DCGAN:
    return DCGAN(image=IMAGE, batch_norm_group=group, runtime=Runtime(group=group or 4))


def work(group: int | None, apart: bool) -> None:
    """One process: train on random images, and let rank 0 print what it measured.

    `apart`, the processes do the same beside each other and know nothing of each other.
    """
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    seed_everything(0, verbose=False)
    reduced = {"bytes": 0}
    all_reduce = dist.all_reduce

    def counting(tensor, *args, **kwargs):
        reduced["bytes"] += tensor.numel() * tensor.element_size()
        return all_reduce(tensor, *args, **kwargs)

    dist.all_reduce = counting
    first = dist.get_rank() == 0
    if apart:
        dist.barrier()
        dist.destroy_process_group()
    model = make_model(group)
    model.configure_optimizers()
    pixels, labels = torch.randint(0, 256, (SHARE, 3, 32, 32), dtype=torch.uint8), torch.full((SHARE,), -1)
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            if not apart:
                dist.barrier()
            start, reduced["bytes"] = time.perf_counter(), 0
        model.training_step((pixels, labels), step)
    seconds = (time.perf_counter() - start) / STEPS
    if first:
        both = sum(p.numel() * p.element_size() for p in model.parameters())
        ema = sum(p.numel() * p.element_size() for p in model.ema.parameters())
        print(json.dumps({"seconds": seconds, "reduced": reduced["bytes"] / STEPS, "parameters": both - ema}))
    if not apart:
        dist.destroy_process_group()


def launch(processes: int, *words: str) -> dict[str, float]:
    """Run a script's worker in so many processes; return what rank 0 says."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run([*command, *words, "--worker"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def train_some(processes: int, group: int | None, *words: str) -> dict[str, float]:
    """Return the seconds and bytes of a round, and the bytes of both networks."""
    return launch(processes, __file__, *(["--group", str(group)] if group else []), *words)


def checkpoint_stall() -> tuple[float, float]:
    """Return the seconds that a checkpoint holds the game up, and the seconds until it is on disk."""
    model = DCGAN(image=ImageSpec(64, 64, 3), width=128)
    model.configure_optimizers()
    state = {"ganlab": {}, "state_dict": model.state_dict()}
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(keep=1)
        start = time.perf_counter()
        writer.submit(state, Path(folder) / "nimg-000000000000.ckpt")
        stalled = time.perf_counter() - start
        writer.wait()
        return stalled, time.perf_counter() - start


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--worker", is_flag=True, hidden=True)
@click.option("--group", type=int, hidden=True)
@click.option("--apart", is_flag=True, hidden=True)
def main(rounds: int, worker: bool, group: int | None, apart: bool) -> None:
    if worker:
        work(group, apart)
        return
    weak_scaling("batch norm over all processes", None, rounds)
    weak_scaling(f"batch norm over groups of {SHARE}", SHARE, rounds)
    stalls = [checkpoint_stall() for _ in range(rounds)]
    stalled, written = (statistics.median(column) for column in zip(*stalls, strict=True))
    print(f"checkpoint: training waits {stalled * 1e3:.0f} ms of the {written * 1e3:.0f} ms until it is on disk")


def weak_scaling(name: str, group: int | None, rounds: int) -> None:
    print(name)
    runs = {1: [], 2: []}
    for _ in range(rounds):
        for processes, results in runs.items():
            results.append(train_some(processes, group))
    for processes, results in runs.items():
        rates = [processes * SHARE / result["seconds"] for result in results]
        print(
            f"  {processes} process(es): {statistics.median(rates):7.1f} images/s ({min(rates):.1f}-{max(rates):.1f})"
        )
    ratios = [one["seconds"] / two["seconds"] for one, two in zip(runs[1], runs[2], strict=True)]
    print(f"  weak scaling 1 to 2: {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")
    two = runs[2][0]
    share = two["reduced"] / two["parameters"]
    print(f"  reduced per round (a step of each player): {two['reduced']:,.0f} bytes, {share:.3f} of both networks")


if __name__ == "__main__":
    main()
