"""Training on one GPU: images per second and the share of its measured matrix rate, with and without each speed-up.

For each family at the papers' size: float32, TF32 and bfloat16 as they are; bfloat16 compiled, with CUDA
graphs, and with both. The images are already on the device; the last figure reads them from shards. Cases for which no
time is left are named, and the slowest case in bfloat16 is profiled: its ten costliest operators.
"""

import json
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from ganlab.commands.train import train
from ganlab.data.make.pack import pack
from ganlab.experiment import limits
from ganlab.experiment.build import build_model, set_arithmetic, speed_up
from ganlab.experiment.config import load
from ganlab.experiment.frame import Config
from ganlab.models import GANModule

CONFIGS = Path(__file__).parents[1] / "configs"
CASES = {
    "SN-GAN 32": ("cifar10/sngan.yaml", 32, 10, 64),
    "SN-GAN 128": ("imagenet128/sngan.yaml", 128, 1000, 64),
    "projection 128": ("imagenet128/projection.yaml", 128, 1000, 64),
    "progressive 256": ("celeba_hq/progressive_1gpu.yaml", 256, 0, 8),
    "progressive 1024": ("celeba_hq/progressive_1gpu.yaml", 1024, 0, 4),
}
"""Config, image size, classes and batch."""
WAYS = [
    ("fp32", False, False),
    ("tf32", False, False),
    ("bf16", False, False),
    ("bf16", False, True),
    ("bf16", True, False),
    ("bf16", True, True),
]
"""Precision, compilation, CUDA graphs."""


def config_of(case: str, device: str, way: tuple[str, bool, bool], *overrides: str) -> Config:
    name, size, classes, batch = CASES[case]
    precision, compiled, graphs = way
    return load(
        CONFIGS / name,
        [
            f"data.image={{height: {size}, width: {size}, channels: 3, classes: {classes}}}",
            f"train.batch={batch}",
            f"machine.device={device}",
            f"machine.precision={precision}",
            f"machine.compile={str(compiled).lower()}",
            f"machine.cuda_graphs={str(graphs).lower()}",
            "run=none",
            *overrides,
        ],
    )


def seated(config: Config) -> GANModule:
    """Return the model on its device, its steps to be made at the full size."""
    set_arithmetic(config.machine)
    model = build_model(config)
    speed_up(model, config.machine)
    model.to(config.machine.device).configure_optimizers()
    return model


def measure(case: str, device: str, way: tuple[str, bool, bool], seconds: float, rates: limits.Rates) -> float:
    """Print a line, and return the images per second."""
    config = config_of(case, device, way)
    cuda = device == "cuda"
    counted = build_model(config)  # not seated, compiled or captured
    work = limits.count(counted, counted.phases[-1], config.train.batch)
    start = time.perf_counter()
    model = seated(config)
    if cuda:
        torch.backends.cudnn.benchmark = True
        torch.cuda.reset_peak_memory_stats()
    for _ in range(4):  # compiles and captures
        limits.time_rounds(model, model.phases[-1], config.train.batch, 0.0)
    begun = time.perf_counter() - start
    rate = limits.time_rounds(model, model.phases[-1], config.train.batch, seconds)["images_per_second"]
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
    print(
        f"  {way[0]:<5}{'compiled' if way[1] else '':<9}{'graphs' if way[2] else '':<7}{rate:10.1f} images/s  "
        f"{rate / work.limit(rates, way[0]):6.1%} of the matrix rate  peak {peak:6.2f} GiB  first steps {begun:5.1f} s",
        flush=True,
    )
    return rate


def from_shards(device: str, images: int) -> None:
    """`ganlab train` of SN-GAN 32 over PNGs in shards on this machine's disk: the last ticks' rate, and its waiting."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw = np.random.default_rng(0)
        pixels, labels = draw.integers(0, 256, (4096, 32, 32, 3), np.uint8), np.arange(4096) % 10
        np.savez(folder / "images.npz", images=pixels, labels=labels)
        pack(folder / "images.npz", folder / "shards", size=32)
        quiet = ["logging.wandb=disabled", f"train.total_nimg={images}", f"train.tick_nimg={images // 4}"]
        where = [f"data.url={folder / 'shards'}", f"run={folder / 'run'}", "machine.decode_threads=8"]
        train(config_of("SN-GAN 32", device, ("bf16", False, False), *quiet, *where))
        rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    spent = sum(value for key, value in rows[-1].items() if key.startswith("seconds/"))
    print(f"from shards, SN-GAN 32, bf16: {rows[-1]['images_per_second']:.1f} images/s, ", end="")
    print(f"{rows[-1]['seconds/data'] / spent:.1%} of the time waiting for images")


def look_closely(case: str, device: str) -> None:
    """Print the costliest operators of some steps in bfloat16."""
    config = config_of(case, device, ("bf16", False, False))
    model = seated(config)
    limits.time_rounds(model, model.phases[-1], config.train.batch, 0.0)
    cuda = device == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiler:
        limits.time_rounds(model, model.phases[-1], config.train.batch, 0.0)
    by = "self_device_time_total" if cuda else "self_cpu_time_total"
    print(f"\n{case}, bf16, where the time goes")
    print(profiler.key_averages().table(sort_by=by, row_limit=10, max_name_column_width=60))


@click.command()
@click.option("--device", default="cuda", show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of each figure.")
@click.option("--minutes", default=9.0, show_default=True, help="Start no new measurement after these.")
@click.option("--only", multiple=True, help="Cases; all of them where none is named.")
@click.option("--images", default=400_000, show_default=True, help="Of the run from shards; 0 for none.")
def main(device: str, seconds: float, minutes: float, only: tuple[str, ...], images: int) -> None:
    end = time.monotonic() + 60 * minutes
    where = torch.device(device)
    rates = limits.measure(where, ["fp32", "tf32", "bf16"] if device == "cuda" else ["fp32", "bf16"], 3.0)
    print(f"torch {torch.__version__}; {limits.tell_machine(rates, where)}", flush=True)
    shares: dict[str, float] = {}
    # The plain ways of all cases come first: compilation takes the longest, and may be what there is no time for.
    for compiled in (False, True):
        for case in only or CASES:
            print(case)
            for way in (way for way in WAYS if way[1] == compiled and (device == "cuda" or way[0] != "tf32")):
                if device != "cuda" and way[2]:
                    continue
                if time.monotonic() > end:
                    print(f"  {way}: no time left")
                    continue
                rate = measure(case, device, way, seconds, rates)
                if way == ("bf16", False, False):
                    shares[case] = rate
    if images and time.monotonic() < end:
        from_shards(device, images)
    if shares and time.monotonic() < end:
        look_closely(min(shares, key=lambda case: shares[case]), device)


if __name__ == "__main__":
    main()
