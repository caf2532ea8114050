"""Training, side by side: ganlab, ganlab compiled, a plain torch loop, and that loop with the obvious speed-ups.

For each family, images per second over images in memory, and the peak memory of the process. Each variant runs in its
own process; the variants alternate for several repeats, and each figure is a median (smallest-largest).
- `ganlab`: through the loop of `ganlab train`, with its ticks; `compiled`: with `machine.compile=true`.
- `loop`: the same game by hand: fresh latents for both steps, penalties by `autograd.grad`, the average of the weights.
- `fast loop`: the same with channels_last, fused Adam, and both networks under `torch.compile`; torch cannot
  compile a network inside a penalty, so that pass is not compiled.
"""

import copy
import json
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch.nn import functional as F
from turns import Waiting

from ganlab.callbacks import Ticks
from ganlab.engine.loop import fit
from ganlab.engine.optimizers import MakeOptimizer, scheduled, value_at
from ganlab.engine.signals import Signals
from ganlab.engine.state import seat
from ganlab.experiment.build import build_model, set_arithmetic, speed_up
from ganlab.experiment.config import load
from ganlab.experiment.frame import Config
from ganlab.experiment.launch import open_group
from ganlab.experiment.records import Events
from ganlab.layers.spectral import iterate_power
from ganlab.regularizers import Point

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = ["model.generator_width=64", "model.discriminator_width=64", "train.batch=32"]
GROWING = ["model.width_base=256", "model.width_max=64", "model.latent=64", "train.batch=16"]
NARROW = ["model.width=64", "model.widest=8"]
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
}
"""Config, image size, and what makes it small enough for a CPU."""
WAYS = ("ganlab", "ganlab compiled", "loop", "fast loop")


def config_of(case: str, *overrides: str) -> Config:
    name, size, small = CASES[case]
    image = f"data.image={{height: {size}, width: {size}, channels: 3, classes: 10}}"
    return load(CONFIGS / name, [image, "run=none", "machine.device=cpu", *small, *overrides])


class InMemory:
    """Batches of random images, for ever; notes when each is asked for. A second stream, if there is one, is alike."""

    clock = staticmethod(time.perf_counter)

    def __init__(self, config: Config) -> None:
        image, batch = config.data.image, config.train.batch
        self.pixels = torch.randint(0, 256, (8 * batch, image.height, image.width, image.channels), dtype=torch.uint8)
        self.labels = torch.randint(0, image.classes, (8 * batch,))
        self.batch, self.asked, self.two = batch, [], config.data.other is not None

    def __iter__(self):
        while True:
            self.asked.append(self.clock())
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


class Loop:
    """By hand."""

    def __init__(self, case: str, fast: bool) -> None:
        config = config_of(case)
        set_arithmetic(config.machine)
        self.game = game = build_model(config)
        self.fast, self.batches = fast, InMemory(config)
        if not fast:
            game.to(memory_format=torch.contiguous_format)
        self.g, self.d = game.generator, game.discriminator
        self.average = copy.deepcopy(self.g)
        self.penalties = game.players["discriminator"].regularizers.values()
        self.g_adam, self.d_adam = (
            constant(game.players[name].optimizer)(network.parameters(), fused=fast or None)
            for name, network in (("generator", self.g), ("discriminator", self.d))
        )
        self.generate = torch.compile(self.g) if fast else self.g
        self.judge = torch.compile(self.d) if fast else self.d

    def latents(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(n, self.game.latent), torch.randint(0, max(self.game.classes, 1), (n,))

    def penalty(self, points: dict[str, tuple[torch.Tensor, torch.Tensor]], logits: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for penalty in self.penalties:
            images, labels = points[penalty.at[0]]
            slope = None
            if penalty.gradient:
                images = images.detach().requires_grad_()
                (slope,) = torch.autograd.grad(self.d(images, labels).sum(), images, create_graph=True)
            value = penalty.penalty(Point((images, labels), logits, slope, self.d))
            total = total + penalty.weight * penalty.every * value.mean()
        return total

    def discriminator_step(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        pixels = pixels if self.fast else pixels.contiguous()
        real = pixels.float() / 127.5 - 1
        if self.game.dequantize:
            real = (pixels.float() + torch.rand_like(real)) / 128 - 1
        iterate_power(self.d)
        z, classes = self.latents(len(real))
        with torch.no_grad():
            fake = self.generate(z, classes)
        real_logits, fake_logits = self.judge(real, labels), self.judge(fake, classes)
        loss = self.game.objective.discriminator(real_logits, fake_logits).mean()
        if self.penalties:
            interpolates = real.lerp(fake, torch.rand(len(real), 1, 1, 1)), labels
            loss = loss + self.penalty({"real": (real, labels), "interpolates": interpolates}, real_logits)
        self.d_adam.zero_grad()
        loss.backward()
        self.d_adam.step()

    def generator_loss(self, n: int) -> torch.Tensor:
        z, classes = self.latents(n)
        return self.game.objective.generator(self.judge(self.generate(z, classes), classes)).mean()

    def generator_step(self, *given: Any) -> None:
        self.d.requires_grad_(False)
        loss = self.generator_loss(*given)
        self.g_adam.zero_grad()
        loss.backward()
        self.d.requires_grad_(True)
        self.g_adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.g.parameters()), 0.005)

    def run(self, steps: int) -> float:
        start = time.perf_counter()
        for step, (pixels, labels) in zip(range(steps), self.batches, strict=False):
            self.discriminator_step(pixels, labels)
            if (step + 1) % self.game.players["generator"].every == 0:
                self.generator_step(round(len(pixels) * self.game.players["generator"].batch))
        return time.perf_counter() - start


class R3GANLoop(Loop):
    """Pairs of one label, R1 and R2 on every batch, and new reals for the generator."""

    def discriminator_step(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        real, gamma = (
            self.floats(pixels).requires_grad_(),
            self.game.players["discriminator"].regularizers["r1"].weight(0),
        )
        z, _ = self.latents(len(real))
        with torch.no_grad():
            fake = self.generate(z, labels)
        of_real, of_fake = self.d(real, labels), self.d(fake.requires_grad_(), labels)
        slopes = torch.autograd.grad((of_real.sum(), of_fake.sum()), (real, fake), create_graph=True)
        penalty = sum(slope.square().sum((1, 2, 3)).mean() for slope in slopes)
        self.d_adam.zero_grad()
        (F.softplus(of_fake - of_real).mean() + gamma / 2 * penalty).backward()
        self.d_adam.step()

    def generator_loss(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        real = self.floats(pixels)
        z, _ = self.latents(len(real))
        return F.softplus(self.judge(real, labels) - self.judge(self.generate(z, labels), labels)).mean()

    def floats(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels if self.fast else pixels.contiguous()).float() / 127.5 - 1

    def run(self, steps: int) -> float:
        start = time.perf_counter()
        for _, batch in zip(range(steps), self.batches, strict=False):
            self.discriminator_step(batch["real"], batch["labels"])
            self.generator_step(batch["other"], batch["other_labels"])
        return time.perf_counter() - start


def constant(make: MakeOptimizer) -> MakeOptimizer:
    """What makes the optimizer without schedules: with their first values."""
    return partial(make, **{name: value_at(value, 0) for name, value in scheduled(make).items()})


def by_hand(case: str, fast: bool) -> Loop:
    return (R3GANLoop if case.startswith("R3GAN") else Loop)(case, fast)


def work(way: str, case: str) -> None:
    """One way, in a process of its own: warm up, then for each line of input make so many steps."""
    with tempfile.TemporaryDirectory() as folder:
        one = (
            Ours(config_of(case, f"machine.compile={str('compiled' in way).lower()}"), Path(folder))
            if way.startswith("ganlab")
            else by_hand(case, way == "fast loop")
        )
        start = time.perf_counter()
        one.run(10)
        print(json.dumps({"warm_up": time.perf_counter() - start}), flush=True)
        for line in sys.stdin:
            seconds = one.run(int(line))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"seconds": seconds, "peak": peak}), flush=True)


def compare(case: str, rounds: int, seconds: float) -> None:
    workers = {way: Waiting([sys.executable, __file__, "--worker", way, "--only", case]) for way in WAYS}
    pace = workers["loop"].ask(10)["seconds"] / 10
    steps = max(10, 5 * round(seconds / pace / 5))
    found = {way: [] for way in WAYS}
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
    for ours, loop in (("ganlab", "loop"), ("ganlab compiled", "fast loop")):
        ratios = [b["seconds"] / a["seconds"] for a, b in zip(found[ours], found[loop], strict=True)]
        print(f"  {ours + ' / ' + loop:<29}{statistics.median(ratios):6.3f} ({min(ratios):.3f}-{max(ratios):.3f})")


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of a round, about, for the plain loop.")
@click.option("--only", multiple=True, help="Cases; all of them where none is named.")
@click.option("--worker", hidden=True)
def main(rounds: int, seconds: float, only: tuple[str, ...], worker: str | None) -> None:
    if worker is not None:
        work(worker, *only)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for case in only or CASES:
        compare(case, rounds, seconds)


if __name__ == "__main__":
    main()
