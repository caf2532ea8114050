"""The CIFAR-10 speedrun: from raw images to a named quality in the fewest minutes of one GPU, in stretches.

    python benchmarks/speedrun.py sngan --source CIFAR10 --extractor INCEPTION.pt --target 20

packs the images where that is not done yet, trains for at most `--minutes`, saves, and prints the minutes so far and
the best value; the same command goes on. It ends when the metric, by its protocol's full name, comes to the target, or
when the images of the config are shown. All of a stretch but Python's imports counts: start, training, evaluations and
saving; packing needs no GPU, and is told apart. `--plan` prints what to expect from the rates in RESULTS.md.
"""

import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

import click
import torch

from ganlab.commands.train import train
from ganlab.data.make.pack import pack
from ganlab.evaluation.results import read
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.experiment.frame import Config
from ganlab.experiment.records import append, read_lines
from ganlab.experiment.work import count

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from device import DRY  # noqa: E402
from small import narrowed  # noqa: E402

SIZE = 16 if DRY else 32
WAYS = {"sngan": ("SN-GAN 32", "bf16, CUDA graphs"), "r3gan": ("R3GAN 32", "bf16")}
"""Row of RESULTS.md that a game runs like."""
TINY = {"train.batch": 16, "train.total_nimg": 96, "train.tick_nimg": 32, "train.checkpoint_every_nimg": 48}
TINY |= {"train.sample_every_nimg": 96, "evaluation.every_nimg": 48, "evaluation.samples": 64, "machine.threads": 1}
TINY |= {"machine.precision": "fp32"}
"""Of a dry run: a CPU is slow in bfloat16."""


def config_of(name: str, run: Path, *words: str) -> Config:
    path = REPOSITORY / f"configs/cifar10/speedrun_{name}.yaml"
    words = f"data.url={run / 'shards'}", f"run={run / 'run'}", "machine.precision=bf16", *words
    if DRY:
        tiny = [f"{key}={value}" for key, value in TINY.items()]
        image = f"data.image={{height: {SIZE}, width: {SIZE}}}"
        return load(path, [*words, *narrowed(load(path), group_width=4), image, "machine.device=cpu", *tiny])
    return load(path, [*words, f"machine.cuda_graphs={str(name == 'sngan').lower()}"], machine=REPOSITORY / GPU)


GPU = "configs/machine/gpu.yaml"


def measured(case: str, way: str) -> tuple[float, float]:
    """Return the images per second and the share of the matrix rate that RESULTS.md has of a case."""
    rows = (REPOSITORY / "benchmarks/RESULTS.md").read_text().split(f"| {case}, batch")[1].splitlines()
    row = next(line for line in rows if f"| {way} |" in line)
    cells = [cell.strip() for cell in row.split(f"| {way} |")[1].split("|")]
    return float(cells[0].replace(",", "")), float(cells[1].removesuffix("%")) / 100


def operations(config: Config) -> float:
    """Count the operations of an image."""
    with torch.device("meta"):
        model = build_model(config)
    return count(model, model.phases[-1], config.train.batch).operations


def plan(name: str, config: Config) -> None:
    """Print what to expect."""
    case, way = WAYS[name]
    rate, share = measured(case, way)
    whole = load(REPOSITORY / f"configs/cifar10/{name}.yaml", ["run=none"])
    ours, theirs = operations(config), operations(whole)
    expected = rate * theirs / ours
    minutes = config.train.total_nimg / expected / 60
    judged = config.train.total_nimg // (config.evaluation.every_nimg or 1)
    print(f"{case}, {way}: {rate:,.0f} images/s measured, {share:.1%} of the matrix rate (RESULTS.md)")
    print(f"an image takes {ours / 1e9:.1f} GFLOP, {theirs / 1e9:.1f} there: {expected:,.0f} images/s at that share")
    print(
        f"{config.train.total_nimg:,} images: {minutes:.0f} GPU-minutes, or {math.ceil(minutes / 10)} stretches of ten,"
    )
    print(f"and {judged} evaluations of {config.evaluation.samples:,} images, whose cost is not known yet")


class Watch(threading.Thread):
    """Asks this process to stop when the time is over or the target is reached; the run then saves itself."""

    def __init__(self, run: Path, end: float, target: float) -> None:
        super().__init__(daemon=True)
        self.folder, self.end, self.target = run, end, target
        signal.signal(signal.SIGTERM, self.ignore)

    def ignore(self, *_: object) -> None:
        """Stand where the run's own handler will be once it trains."""

    def run(self) -> None:
        while time.monotonic() < self.end and best(self.folder) > self.target:
            time.sleep(0.2)
        while signal.getsignal(signal.SIGTERM) == self.ignore:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)


def best(run: Path) -> float:
    """Return the lowest value so far."""
    return min((row["value"] for row in read(run)), default=math.inf)


def stretch(config: Config, folder: Path, minutes: float, target: float) -> None:
    """Train until the time is over; add a line to the account, and print where the run stands."""
    run, account, begun = Path(config.run), folder / "stretches.jsonl", time.monotonic()
    Watch(run, begun + 60 * minutes, target).start()
    code = train(config)
    append(account, [{"seconds": time.monotonic() - begun, "code": code}])
    spent = [row["seconds"] / 60 for row in read_lines(account)]
    where = "a CPU (DRY)" if DRY else torch.cuda.get_device_name()
    print(f"{sum(spent):.2f} minutes of {where} in {len(spent)} stretches")
    ticks = [row for row in read_lines(run / "metrics.jsonl") if "images_per_second" in row]
    for last in ticks[-1:]:  # a short stretch has none
        print(f"{last['nimg']:,} of {config.train.total_nimg:,} images, {last['images_per_second']:,.1f} images/s")
    for row in sorted(read(run), key=lambda row: row["value"])[:1]:
        print(f"best: {row['name']} = {row['value']:.4g} after {row['nimg']:,} images")
    if best(run) <= target:
        print(f"the target, {target:g}, is reached")
    elif code == 0:
        print(f"all images are shown, and the target, {target:g}, is not reached")
    else:
        print("the same command goes on")


@click.command()
@click.argument("name", type=click.Choice(list(WAYS)))
@click.option("--plan", "planned", is_flag=True, help="Print what to expect, and do nothing.")
@click.option("--source", type=click.Path(exists=True), help="The raw images: whatever `ganlab data pack` reads.")
@click.option("--folder", default="runs/speedrun", show_default=True, type=click.Path(path_type=Path))
@click.option("--metric", default="fid", show_default=True, help="One that is lower where it is better.")
@click.option("--extractor", type=click.Path(exists=True), help="TorchScript features of fid and kid.")
@click.option("--target", default=20.0, show_default=True, help="Of the metric.")
@click.option("--minutes", default=10.0, show_default=True, help="Of this stretch.")
@click.option("--seed", default=0, show_default=True)
def main(
    name: str,
    planned: bool,
    source: str | None,
    folder: Path,
    metric: str,
    extractor: str | None,
    target: float,
    minutes: float,
    seed: int,
) -> None:
    """Go on with the run of NAME."""
    words = [f"seed={seed}", f"evaluation.metrics=[{metric}]", "logging.wandb=disabled"]
    if extractor:
        part = f"{{_target_: ganlab.metrics.features.TorchScriptFeatures, path: {extractor}}}"
        words.append(f"evaluation.extractor={part}")
    folder = folder / f"{name}-{seed}"
    config = config_of(name, folder, *words)
    if planned:
        plan(name, config)
        return
    if not (folder / "shards").is_dir():
        if source is None:
            raise click.UsageError(f"{folder / 'shards'}: no images yet; name them with --source")
        begun = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        pack(source, folder / "shards", size=SIZE)
        print(f"packed in {(time.monotonic() - begun) / 60:.2f} minutes of the CPU")
    if best(Path(config.run)) <= target:
        print(f"the target, {target:g}, was reached: {best(Path(config.run)):.4g}")
        return
    stretch(config, folder, minutes, target)


if __name__ == "__main__":
    main()
