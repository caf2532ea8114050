"""Training, side by side: ganlab, ganlab compiled, a plain torch loop, and that loop with the obvious speed-ups.

For each family, images per second over images in memory, and the peak memory of the process. Each variant runs in its
own process on one thread; the variants alternate for several repeats, and each figure is a median (smallest-largest).
Seconds are the processor's: other work on the machine does not count.
- `ganlab`: through the loop of `ganlab train`, with its ticks; `compiled`: with `machine.compile=true`.
- `loop`: the same game by hand (`loops.py`): fresh latents for both steps, penalties by `autograd.grad`, the average of
  the weights.
- `fast loop`: the same with channels_last, fused Adam, and both networks under `torch.compile`; torch cannot
  compile a network inside a penalty, so that pass is not compiled.

The case of Projected GAN needs `pip install 'ganlab[projected]'`.
"""

import json
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from loops import by_hand
from turns import Waiting

from ganlab.callbacks import Ticks
from ganlab.engine.loop import fit
from ganlab.engine.signals import Signals
from ganlab.engine.state import seat
from ganlab.experiment.build import build_model, set_arithmetic, speed_up
from ganlab.experiment.config import load
from ganlab.experiment.frame import Config
from ganlab.experiment.launch import open_group
from ganlab.experiment.records import Events

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = ["model.generator_width=64", "model.discriminator_width=64", "train.batch=32"]
GROWING = ["model.width_base=256", "model.width_max=64", "model.latent=64", "train.batch=16"]
ATTENDING = ["model.generator_width=16", "model.discriminator_width=16", "model.attention=16", "train.batch=16"]
CASES = {
    "DCGAN 32": ("cifar10/dcgan.yaml", 32, ["model.width=64", "train.batch=64"]),
    "DCGAN 64": ("cifar10/dcgan.yaml", 64, ["model.width=64", "train.batch=32"]),
    "SN-GAN 32": ("cifar10/sngan.yaml", 32, SMALL),
    "projection 32": ("cifar10/projection.yaml", 32, SMALL),
    "WGAN-GP 32": (
        "cifar10/wgan_gp.yaml",
        32,
        ["model.generator.width=32", "model.discriminator.width=32", "model.discriminator_steps=2", "train.batch=32"],
    ),
    "progressive 32": ("cifar10/progressive.yaml", 32, GROWING),
    "progressive 64": ("cifar10/progressive.yaml", 64, GROWING),
    "R3GAN 32": (
        "cifar10/r3gan.yaml",
        32,
        ["model.width=64", "model.widest=8", "model.augment=null", "train.batch=16"],
    ),
    "SAGAN 32": ("imagenet128/sagan.yaml", 32, ATTENDING),
    "BigGAN 32": ("imagenet128/biggan.yaml", 32, [*ATTENDING, "model.ema_from_nimg=0"]),
    "BigGAN-deep 32": ("imagenet128/biggan_deep.yaml", 32, [*ATTENDING, "model.ema_from_nimg=0"]),
    "StyleGAN2 32": ("signs/stylegan2.yaml", 32, ["model.width_base=1024", "model.width_max=64"]),
    "Projected GAN 64": ("signs/projected.yaml", 64, ["model.width=16", "train.batch=8"]),
}
"""Config, image size, and what makes it small enough for a CPU."""
WAYS = ("ganlab", "loop", "ganlab compiled", "fast loop")


def config_of(case: str, *overrides: str) -> Config:
    name, size, small = CASES[case]
    image = f"data.image={{height: {size}, width: {size}, channels: 3, classes: 10}}"
    return load(CONFIGS / name, [image, "run=none", "machine.device=cpu", "machine.threads=1", *small, *overrides])


class InMemory:
    """Batches of random images, for ever; notes when each is asked for. A second stream, if there is one, is alike."""

    def __init__(self, config: Config) -> None:
        image, batch = config.data.image, config.train.batch
        self.pixels = torch.randint(0, 256, (8 * batch, image.height, image.width, image.channels), dtype=torch.uint8)
        self.labels = torch.randint(0, image.classes, (8 * batch,))
        self.batch, self.asked, self.two = batch, [], config.data.other is not None

    def __iter__(self):
        while True:
            self.asked.append(time.process_time())
            images, labels = self.cut(len(self.asked))
            if self.two:
                other, other_labels = self.cut(len(self.asked) + 4)
                yield {"real": images, "labels": labels, "other": other, "other_labels": other_labels}
            else:
                yield images, labels

    def cut(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        start = number % 8 * self.batch
        return self.pixels[start : start + self.batch].permute(0, 3, 1, 2), self.labels[start : start + self.batch]


class Ours:
    """`ganlab train`, without its files."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.model, self.folder = config, build_model(config), folder
        speed_up(self.model, self.config.machine)
        set_arithmetic(self.config.machine)
        seat(self.model, open_group(self.config.machine), shard=False)
        self.model.clock.nimg = self.model.phases[-1].from_nimg
        if hasattr(self.model, "fade_nimg"):
            self.model.clock.nimg += self.model.fade_nimg

    def run(self, steps: int) -> float:
        batches, total = InMemory(self.config), self.model.clock.nimg + (steps + 1) * self.config.train.batch
        signals = Signals()
        ticks = Ticks(
            self.folder / "metrics.jsonl",
            every=10_000,
            checkpoint_every=100_000,
            total_nimg=total,
            signals=signals,
            skip=True,
            trackers=None,
            events=Events(self.folder / "events.jsonl"),
        )
        fit(self.model, batches, signals, total_nimg=total, tasks=[ticks])
        return batches.asked[steps] - batches.asked[0]


def work(way: str, case: str) -> None:
    """One way, in a process of its own: warm up, then for each line of input make so many steps."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(case, f"machine.compile={str(way == 'ganlab compiled').lower()}")
        if way.startswith("ganlab"):
            one = Ours(config, Path(folder))
        else:
            set_arithmetic(config.machine)
            one = by_hand(case, build_model(config), InMemory(config), way == "fast loop")
        start = time.perf_counter()
        one.run(max(2, cycle_of(case)))
        print(json.dumps({"warm_up": time.perf_counter() - start}), flush=True)
        for line in sys.stdin:
            seconds = one.run(int(line))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"seconds": seconds, "peak": peak}), flush=True)


def cycle_of(case: str) -> int:
    """Rounds after which the pattern of steps and penalties repeats."""
    game = build_model(config_of(case))
    penalties = (penalty for player in game.players.values() for penalty in player.regularizers.values())
    return math.lcm(game.cycle(), *(penalty.every for penalty in penalties))


def compare(case: str, ways: Sequence[str], rounds: int, seconds: float) -> None:
    workers = {way: Waiting([sys.executable, __file__, "--worker", way, "--only", case]) for way in ways}
    cycle = cycle_of(case)
    pace = workers["loop"].ask(cycle)["seconds"] / cycle
    steps = cycle * math.ceil(seconds / pace / cycle)
    found = {way: [] for way in ways}
    for _ in range(rounds):
        for way, worker in workers.items():
            found[way].append(worker.ask(steps))
    images = steps * config_of(case).train.batch
    print(f"{case}, {rounds} rounds of {steps} discriminator steps")
    for way, worker in workers.items():
        rates = [images / one["seconds"] for one in found[way]]
        print(
            f"  {way:<16}{statistics.median(rates):9.1f} images/s ({min(rates):.1f}-{max(rates):.1f})   peak "
            f"{found[way][-1]['peak'] / 2**20:6.0f} MiB   first steps {worker.ready['warm_up']:5.1f} s"
        )
        worker.end()
    for ours, loop in zip(ways[::2], ways[1::2], strict=True):
        ratios = [b["seconds"] / a["seconds"] for a, b in zip(found[ours], found[loop], strict=True)]
        print(f"  {ours + ' / ' + loop:<29}{statistics.median(ratios):6.3f} ({min(ratios):.3f}-{max(ratios):.3f})")


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of a round, about, for the plain loop.")
@click.option("--only", multiple=True, help="Cases; all of them where none is named.")
@click.option("--eager", is_flag=True, help="Nothing that is compiled, which takes minutes for deep networks.")
@click.option("--worker", hidden=True)
def main(rounds: int, seconds: float, only: tuple[str, ...], eager: bool, worker: str | None) -> None:
    if worker is not None:
        work(worker, *only)
        return
    print(f"torch {torch.__version__}, one thread")
    for case in only or CASES:
        compare(case, WAYS[:2] if eager else WAYS, rounds, seconds)


if __name__ == "__main__":
    main()
