"""What ganlab costs per step: the same DCGAN (32 px, width 64, batch 64) trained by ganlab and by hand-written loops.

Prints ratios of images per second, ganlab / loop, from one run: the variants take turns, each figure is a median.
- `ganlab`: through the loop of `ganlab train` with its callbacks, over images in memory, as the loops have them.
- `from shards`: the same, decoding PNGs from shards on a thread beside it: what reading costs on these cores.
- `same game`: the loop makes the same steps, with fresh latents for the generator's, and averages the generator.
- `shared fakes`: the loop of PyTorch's DCGAN example, without an average, whose generator reuses the discriminator's
  fakes and so saves one generator pass: what ganlab's fresh latents cost.

Then the microseconds that a round costs ganlab besides its arithmetic, with players whose steps only advance the clock,
on floats that are already in memory.
"""

import copy
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
from torch.nn.functional import softplus
from torch.optim import Adam

from ganlab.commands.tasks import Run, make_tasks
from ganlab.commands.train import try_to_count
from ganlab.data.make.pack import pack
from ganlab.data.read.module import ShardData
from ganlab.engine.loop import fit
from ganlab.engine.signals import Signals
from ganlab.engine.state import seat
from ganlab.experiment.build import set_arithmetic
from ganlab.experiment.config import from_dict
from ganlab.experiment.launch import open_group
from ganlab.experiment.records import Events
from ganlab.models import DCGAN
from ganlab.networks import dcgan
from ganlab.types import ImageSpec

BATCH, WARM_UP = 64, 3
IMAGE = ImageSpec(32, 32, 3)
LABELS = torch.full((BATCH,), -1)


class Empty(DCGAN):
    """Steps without arithmetic."""

    def step(self, name, reals):
        if name == "discriminator":
            self.clock.nimg += len(reals["real"])
        self.clock.steps[name] += 1

    def settle(self):
        pass


class InMemory:
    """An endless stream of random batches of images in memory; floats are the same batch again and again."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __iter__(self):
        while self.images.is_floating_point():
            yield self.images, LABELS
        while True:
            yield self.images[torch.randint(len(self.images), (BATCH,))], LABELS


def timed(batches, noted: list[float]):
    """Pass batches on, and note when each is asked for."""
    for batch in batches:
        noted.append(time.perf_counter())
        yield batch


def by_ganlab(folder: Path, images: torch.Tensor | None, steps: int, kind: type[DCGAN] = DCGAN) -> float:
    """Train as `ganlab train` does, from memory or from shards; return seconds per step."""
    run = folder / "run"
    for name in ("checkpoints", "samples"):
        (run / name).mkdir(parents=True, exist_ok=True)
    total = (WARM_UP + steps + 1) * BATCH
    every = dict.fromkeys(("sample_every_nimg", "checkpoint_every_nimg"), 10 * total)
    config = from_dict(
        {
            "model": {"_target_": "ganlab.models.DCGAN"},
            "data": {"url": str(folder)},
            "train": {"total_nimg": total, "batch": BATCH, **every},
            "run": str(run),
        },
        "benchmark",
    )
    model, data = kind(image=IMAGE), ShardData(folder, batch=BATCH)
    set_arithmetic(config.machine)
    works, device = try_to_count(config, model), open_group(config.machine)
    seat(model, device, shard=False)
    signals, noted = Signals(), []
    tasks, _ = make_tasks(Run(config, data, None, works, device, Events(run / "events.jsonl"), ()), None, signals)
    batches = data.loader(model, device) if images is None else InMemory(images)
    fit(model, timed(batches, noted), signals, total_nimg=total, tasks=tasks)
    shutil.rmtree(run)
    return (noted[WARM_UP + steps] - noted[WARM_UP]) / steps


def by_hand(images: torch.Tensor, steps: int, share_fakes: bool) -> float:
    """Train in a plain loop over images in memory; return seconds per step."""
    generator, discriminator = dcgan.Generator(image=IMAGE), dcgan.Discriminator(image=IMAGE)
    g_adam = Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    d_adam = Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    average = copy.deepcopy(generator)
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            start = time.perf_counter()
        real = images[torch.randint(len(images), (BATCH,))].float() / 127.5 - 1
        with torch.set_grad_enabled(share_fakes):
            fake = generator(torch.randn(BATCH, 100), None)
        d_adam.zero_grad()
        loss = softplus(-discriminator(real, None)).mean() + softplus(discriminator(fake.detach(), None)).mean()
        loss.backward()
        d_adam.step()
        if not share_fakes:
            fake = generator(torch.randn(BATCH, 100), None)
        g_adam.zero_grad()
        discriminator.requires_grad_(False)
        softplus(-discriminator(fake, None)).mean().backward()
        discriminator.requires_grad_(True)
        g_adam.step()
        if not share_fakes:
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 0.005)
    return (time.perf_counter() - start) / steps


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--steps", default=30, show_default=True, help="Timed steps in a round.")
def main(rounds: int, steps: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2048, 32, 32, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "images.npy", pixels)
        folder = Path(name) / "shards"
        pack(Path(name) / "images.npy", folder, size=32)
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        variants = {
            "ganlab": lambda: by_ganlab(folder, images, steps),
            "from shards": lambda: by_ganlab(folder, None, steps),
            "same game": lambda: by_hand(images, steps, share_fakes=False),
            "shared fakes": lambda: by_hand(images, steps, share_fakes=True),
        }
        seconds: dict[str, list[float]] = {variant: [] for variant in variants}
        for _ in range(rounds):
            for variant, run in variants.items():
                seconds[variant].append(run())
        few = torch.zeros(BATCH, 3, 1, 1).to(memory_format=torch.channels_last)
        empty = [by_ganlab(folder, few, 5000, Empty) for _ in range(rounds)]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {rounds} rounds of {steps} steps")
    for variant, times in seconds.items():
        low, middle, high = min(times), statistics.median(times), max(times)
        spread = f"{low * 1e3:.1f}-{high * 1e3:.1f}"
        print(f"{variant:<13} {BATCH / middle:8.1f} images/s   step {middle * 1e3:.1f} ms ({spread})")
    for own, loop in (("ganlab", "same game"), ("from shards", "same game"), ("ganlab", "shared fakes")):
        pairs = [by / ours for ours, by in zip(seconds[own], seconds[loop], strict=True)]
        print(f"{own + ' / ' + loop:<24} {statistics.median(pairs):.3f} ({min(pairs):.3f}-{max(pairs):.3f})")
    print(f"an empty round {statistics.median(empty) * 1e6:.1f} us ({min(empty) * 1e6:.1f}-{max(empty) * 1e6:.1f})")


if __name__ == "__main__":
    main()
