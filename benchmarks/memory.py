"""The memory that `ganlab show` tells, beside the peak that Linux measures for the same steps on a CPU.

Each case runs in a process of its own: its resident memory before the model is made, and at its highest during some
rounds, with glibc giving freed blocks back. What a process takes once (libraries, the pages of its code) is not
counted: rounds with a small batch come first.
"""

import ctypes
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import torch

from ganlab.engine.game import Game
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.experiment.memory import memory_of
from ganlab.experiment.work import examples, without_numbers

CONFIGS = Path(__file__).parents[1] / "configs"
CASES = {
    "fashion/dcgan": 512,
    "cifar10/sngan": 64,
    "cifar10/wgan_gp": 64,
    "cifar10/progressive": 32,
    "fashion/r3gan": 256,
    "signs/stylegan2": 32,
    "digits/cyclegan": 64,
    "digits/bigan": 1024,
}
"""Config, and reals in a round: some hundred MB."""


def resident(name: str) -> int:
    """Return a line of /proc/self/status in bytes: VmRSS now, or VmHWM at most."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def measured(config: str, batch: int) -> dict[str, float]:
    """The bytes of this process for the model and its steps, and what is told of them."""
    libc = ctypes.CDLL(None)
    for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD: large blocks are mapped, and unmapped when freed
        libc.mallopt(option, 128 * 1024)
    settings = load(CONFIGS / f"{config}.yaml")
    with without_numbers(build_model(settings)) as model:
        told = memory_of(model, model.phases[-1])
    warm = build_model(settings)
    play(warm, 2 * warm.runtime.group)
    del warm
    libc.malloc_trim(0)
    before = resident("VmRSS")
    model = build_model(settings)
    play(model, batch)
    return {"told": told.peak(batch), "held": told.held, "measured": resident("VmHWM") - before}


def play(model: Game, batch: int) -> None:
    """Make two rounds, and forget how much any before them has taken."""
    phase = model.phases[-1]
    model.clock.nimg = phase.from_nimg
    Path("/proc/self/clear_refs").write_text("5")
    model.configure_optimizers()
    for number in range(2 * model.cycle()):
        model.training_step(examples(model, phase, batch, torch.device("cpu")), number)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--worker", hidden=True)
def main(names: tuple[str, ...], worker: str | None) -> None:
    torch.set_num_threads(1)
    if worker:
        print(json.dumps(measured(worker, CASES[worker])))
        return
    print("| config | reals in a round | MB, told | MB, measured | told / measured |\n|---|---|---|---|---|")
    for name in names or CASES:
        out = subprocess.run([sys.executable, __file__, "--worker", name], check=True, capture_output=True, text=True)
        row = json.loads(out.stdout.splitlines()[-1])
        cells = [f"{row[at] / 1e6:,.0f}" for at in ("told", "measured")]
        print(f"| {name} | {CASES[name]} | {' | '.join(cells)} | {row['told'] / row['measured']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
