"""Training on one GPU: images per second and the share of its measured matrix rate, with and without each speed-up.

For each family at the papers' size: float32, TF32 and bfloat16 as they are; bfloat16 compiled, with CUDA
graphs, and with both. The images are already on the device; the last figure reads them from shards. Cases for which no
time is left are named, and the slowest case in bfloat16 is profiled: its ten costliest operators.

With GANLAB_DRY_GPU=1 all of it runs on the CPU, with networks 8 wide and images of 16 px: the figures mean nothing.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from torch._dynamo.exc import TorchDynamoException
from torch.profiler import ProfilerActivity, profile

from ganlab.commands.train import train
from ganlab.data.make.pack import pack
from ganlab.experiment import limits
from ganlab.experiment.build import build_model, set_arithmetic, speed_up
from ganlab.experiment.config import load
from ganlab.experiment.frame import Config
from ganlab.experiment.work import Work, count
from ganlab.models import GANModule

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from device import DEVICE, DRY  # noqa: E402
from small import narrowed  # noqa: E402

CONFIGS = REPOSITORY / "configs"
CASES = {
    "SN-GAN 32": ("cifar10/sngan.yaml", 32, 10, 64, ""),
    "SN-GAN 128": ("imagenet128/sngan.yaml", 128, 1000, 64, ""),
    "projection 128": ("imagenet128/projection.yaml", 128, 1000, 64, ""),
    "progressive 256": ("celeba_hq/progressive_1gpu.yaml", 256, 0, 8, ""),
    "progressive 1024": ("celeba_hq/progressive_1gpu.yaml", 1024, 0, 4, ""),
    "R3GAN 32": ("cifar10/r3gan.yaml", 32, 10, 512, "90 per L40 (250 million images in 4 days on 8)"),
    "BigGAN 128": (
        "imagenet128/biggan.yaml",
        128,
        1000,
        64,
        "30 per V100 (fp32, 150,000 rounds of 2,048 in 15 days on 8)",
    ),
    "StyleGAN2 256": ("ffhq256/stylegan2.yaml", 256, 0, 16, "44 per V100, 80 per A100"),
    "StyleGAN2 1024": ("ffhq1024/stylegan2.yaml", 1024, 0, 8, "6.3 per V100, 11.1 per A100"),
}
"""Config, image size, classes, batch, and the images per second that its authors' code is known to make."""
WAYS = {
    "fp32": ("fp32", False, False),
    "tf32": ("tf32", False, False),
    "bf16": ("bf16", False, False),
    "bf16+graphs": ("bf16", False, True),
    "bf16+compile": ("bf16", True, False),
    "bf16+compile+graphs": ("bf16", True, True),
}
"""Precision, compilation, CUDA graphs."""


def config_of(case: str, way: tuple[str, bool, bool], *overrides: str, device: str = DEVICE) -> Config:
    name, size, classes, batch, _ = CASES[case]
    precision, compiled, graphs = way
    if DRY:
        shipped = load(CONFIGS / name)
        size, batch = 16, max(8, shipped.train.group)
        overrides = (*narrowed(shipped, group_width=4, projected_width=8), *overrides)
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
    with torch.device(config.machine.device):  # BigGAN's orthogonal weights take a CPU a minute
        model = build_model(config)
    if DRY and config.machine.compile:  # what a GPU's code is made from, run as it was traced
        model.compile(backend="eager")
        config = replace(config, machine=replace(config.machine, compile=False))
    speed_up(model, config.machine)
    model.to(config.machine.device).configure_optimizers()
    return model


def counted(case: str) -> Work:
    """Count a case's work, on a model that is not seated, compiled or captured."""
    config = config_of(case, WAYS["fp32"])
    with torch.device("meta"):
        model = build_model(config)
    return count(model, model.phases[-1], config.train.batch)


def measure(case: str, way: str, seconds: float, limit: float) -> float:
    """Print a line, and return the images per second; `limit` is what the matrix rate would allow."""
    config = config_of(case, WAYS[way])
    start = time.perf_counter()
    model = seated(config)
    if not DRY:
        torch.backends.cudnn.benchmark = True
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2 if DRY else 4):  # compiles and captures
        limits.time_rounds(model, model.phases[-1], config.train.batch, 0.0)
    begun = time.perf_counter() - start
    rate = limits.time_rounds(model, model.phases[-1], config.train.batch, seconds)["images_per_second"]
    peak = 0.0 if DRY else torch.cuda.max_memory_allocated() / 2**30
    print(
        f"  {way:<20}{rate:10.1f} images/s  {rate / limit:6.1%} of the matrix rate  peak {peak:6.2f} GiB  "
        f"first steps {begun:5.1f} s",
        flush=True,
    )
    return rate


def from_shards(images: int) -> None:
    """`ganlab train` of SN-GAN 32 over PNGs in shards on this machine's disk: the last ticks' rate, and its waiting."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw = np.random.default_rng(0)
        size = config_of("SN-GAN 32", WAYS["bf16"]).data.image.height
        pixels, labels = draw.integers(0, 256, (64 * size, size, size, 3), np.uint8), np.arange(64 * size) % 10
        np.savez(folder / "images.npz", images=pixels, labels=labels)
        pack(folder / "images.npz", folder / "shards", size=size)
        quiet = ["logging.wandb=disabled", f"train.total_nimg={images}", f"train.tick_nimg={images // 4}"]
        where = [f"data.url={folder / 'shards'}", f"run={folder / 'run'}", "machine.decode_threads=8"]
        train(config_of("SN-GAN 32", WAYS["bf16"], *quiet, *where))
        rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    spent = sum(value for key, value in rows[-1].items() if key.startswith("seconds/"))
    print(f"from shards, SN-GAN 32, bf16: {rows[-1]['images_per_second']:.1f} images/s, ", end="")
    print(f"{rows[-1]['seconds/data'] / spent:.1%} of the time waiting for images")


def look_closely(case: str) -> None:
    """Print the costliest operators of some steps in bfloat16."""
    config = config_of(case, WAYS["bf16"])
    model = seated(config)
    limits.time_rounds(model, model.phases[-1], config.train.batch, 0.0)
    with profile(activities=[ProfilerActivity.CPU, *([] if DRY else [ProfilerActivity.CUDA])]) as profiler:
        limits.time_rounds(model, model.phases[-1], config.train.batch, 0.0)
    by = "self_cpu_time_total" if DRY else "self_device_time_total"
    print(f"\n{case}, bf16, where the time goes")
    print(profiler.key_averages().table(sort_by=by, row_limit=10, max_name_column_width=60))


@click.command()
@click.option("--seconds", default=0.01 if DRY else 3.0, show_default=True, help="Of each figure.")
@click.option("--minutes", default=9.0, show_default=True, help="Start no new measurement after these.")
@click.option("--only", multiple=True, type=click.Choice(list(CASES)), help="Cases; all where none is named.")
@click.option("--way", multiple=True, type=click.Choice(list(WAYS)), help="Ways; all where none is named.")
@click.option(
    "--images", default=512 if DRY else 400_000, show_default=True, help="Of the run from shards; 0 for none."
)
@click.option("--closely/--not-closely", default=True, help="Profile the slowest case in bfloat16.")
def main(
    seconds: float, minutes: float, only: tuple[str, ...], way: tuple[str, ...], images: int, closely: bool
) -> None:
    end, where, failed = time.monotonic() + 60 * minutes, torch.device(DEVICE), False
    if DRY:
        print("DRY: on the CPU, at tiny sizes; no figure below says anything of a GPU, and no memory is measured")
    rates = limits.measure(where, ["fp32", "tf32", "bf16"], seconds)
    print(f"torch {torch.__version__}; {limits.tell_machine(rates, where)}", flush=True)
    shares: dict[str, float] = {}
    # The plain ways of all cases come first: compilation takes the longest, and may be what there is no time for.
    for compiled in (False, True):
        for case in only or CASES:
            ways = [name for name in way or WAYS if ("compile" in name) == compiled]
            if not ways:
                continue
            published = CASES[case][-1]
            print(f"{case}, batch {CASES[case][3]}" + f"; published: {published}" * bool(published), flush=True)
            work = counted(case)
            for name in ways:
                if time.monotonic() > end:
                    print(f"  {name}: no time left")
                    continue
                if DRY and WAYS[name][1:] == (True, True):
                    print(f"  {name}: left out of a dry run: compiled code is no operators to be recorded")
                    continue
                try:
                    rate = measure(case, name, seconds, limits.reachable(work, rates, WAYS[name][0]))
                except (RuntimeError, TorchDynamoException) as error:  # out of memory, say: the others are still of use
                    print(f"  {name}: {str(error).splitlines()[0]}")
                    failed = True
                    continue
                if name == "bf16":
                    shares[case] = rate
    if images and time.monotonic() < end:
        from_shards(images)
    if closely and shares and time.monotonic() < end:
        look_closely(min(shares, key=lambda case: shares[case]))
    sys.exit(failed)


if __name__ == "__main__":
    main()
