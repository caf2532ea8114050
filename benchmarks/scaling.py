"""Weak scaling, bytes reduced per round, and what a checkpoint costs.

Gloo processes, one thread each, take turns; each has the same share of images. Prints medians over rounds, and two
ratios of images/s: of two processes to twice those of one, and to those of two that train beside each other and know
nothing of each other. The second is what working together costs; the first also has what two share, memory and caches.
The last ratio is what waiting costs by itself: two apart, were each round as long as the longer one of the two. DCGAN,
with batch norm over the images of all processes (a small reduction per layer and pass) and over fixed groups.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
CASES = {
    "32 px, width 64, batch norm over all processes": (32, None),
    f"32 px, width 64, batch norm over groups of {SHARE}": (32, SHARE),
    f"64 px, width 32, batch norm over groups of {SHARE}": (64, SHARE),
}


def make_model(group: int | None, size: int = IMAGE.height) -> DCGAN:
    image, width = ImageSpec(size, size, 3), 64 * IMAGE.height // size
    return DCGAN(image=image, width=width, batch_norm_group=group, runtime=Runtime(group=group or 4))


def work(group: int | None, size: int, apart: bool) -> None:
    """One process: train on random images, and print what it measured.

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
    if apart:
        dist.barrier()
        dist.destroy_process_group()
    model = make_model(group, size)
    model.configure_optimizers()
    pixels, labels = torch.randint(0, 256, (SHARE, 3, size, size), dtype=torch.uint8), torch.full((SHARE,), -1)
    times = []
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            if not apart:
                dist.barrier()
            reduced["bytes"] = 0
        start = time.perf_counter()
        model.training_step((pixels, labels), step)
        times.append(time.perf_counter() - start)
    both = sum(p.numel() * p.element_size() for p in model.parameters())
    ema = sum(p.numel() * p.element_size() for p in model.ema.parameters())
    found = {"rounds": times[WARM_UP:], "reduced": reduced["bytes"] / STEPS, "parameters": both - ema}
    sys.stdout.write(json.dumps(found) + "\n")  # at once: both processes write to one pipe
    if not apart:
        dist.destroy_process_group()


def launch(processes: int, *words: str) -> list[dict[str, Any]]:
    """Run a script's worker in so many processes; return what each says."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run([*command, *words, "--worker"], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def train_some(processes: int, group: int | None, *words: str) -> list[dict[str, Any]]:
    """Return for each process the seconds of its rounds, the bytes of one, and those of both networks."""
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
@click.option("--size", type=int, default=IMAGE.height, hidden=True)
@click.option("--apart", is_flag=True, hidden=True)
def main(rounds: int, worker: bool, group: int | None, size: int, apart: bool) -> None:
    if worker:
        work(group, size, apart)
        return
    for name in CASES:
        weak_scaling(name, rounds)
    stalls = [checkpoint_stall() for _ in range(rounds)]
    stalled, written = (statistics.median(column) for column in zip(*stalls, strict=True))
    print(f"checkpoint: training waits {stalled * 1e3:.0f} ms of the {written * 1e3:.0f} ms until it is on disk")


def weak_scaling(name: str, rounds: int) -> None:
    size, group = CASES[name]
    print(f"DCGAN {name}", flush=True)
    ways = {"one process": (1,), "two processes": (2,), "two apart": (2, "--apart")}
    runs = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (processes, *words) in ways.items():
            runs[way].append(train_some(processes, group, f"--size={size}", *words))
    rates = {way: [sum(SHARE * STEPS / sum(one["rounds"]) for one in run) for run in of] for way, of in runs.items()}
    for way, of in rates.items():
        print(f"  {way:<14}{statistics.median(of):7.1f} images/s ({min(of):.1f}-{max(of):.1f})")
    alone, together, apart = rates.values()
    tell("together / twice one process", [two / (2 * one) for one, two in zip(alone, together, strict=True)])
    tell("together / two apart", [two / other for two, other in zip(together, apart, strict=True)])
    tell("two apart, each round as the slower one's", [waited(run) for run in runs["two apart"]])
    two = runs["two processes"][0][0]
    share = two["reduced"] / two["parameters"]
    print(f"  reduced per round (a step of each player): {two['reduced']:,.0f} bytes, {share:.3f} of both networks")


def tell(what: str, ratios: list[float]) -> None:
    print(f"  {what}: {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")


def waited(run: list[dict[str, Any]]) -> float:
    """Return the rate of processes that wait for the slower one in each round, of that of the same that do not."""
    rounds = list(zip(*(one["rounds"] for one in run), strict=True))
    return sum(map(statistics.mean, rounds)) / sum(map(max, rounds))


if __name__ == "__main__":
    main()
