"""Does it learn? Trains each family on real images, small enough for two CPU cores.

Prints the kernel distance between samples of the averaged generator and the training images (lower is better) before,
halfway and after; the grids are in the runs' folders. It is computed from the features of the network in
`../shared/weights` (MobileNetV2, ImageNet): compare it within this table, and never with a published one. `floor` is
the distance between the two halves of those real images.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

from ganlab.data import ShardDataset
from ganlab.data.make.pack import pack
from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import ImageSet, Samples, open_images
from ganlab.experiment import checkpoints
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.metrics.features import TorchScriptFeatures
from ganlab.models import GANModule

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
FEATURES = str(SHARED / "weights/mobilenet_v2_features.pt")
COUNT = 2000
"""Fakes of each distance, and half of the reals."""


@dataclass(frozen=True)
class Family:
    """One small run."""

    config: str
    source: str
    """In `../shared/data`."""
    size: int
    pyramid: bool = False
    changes: tuple[str, ...] = ()
    """To the config."""


FAMILIES = {
    "dcgan": Family("fashion/dcgan.yaml", "fashion_mnist/train-images-idx3-ubyte.gz", 32),
    "sngan": Family("fashion/sngan.yaml", "fashion_mnist/train-images-idx3-ubyte.gz", 32),
    "wgan_gp": Family("fashion/wgan_gp.yaml", "fashion_mnist/train-images-idx3-ubyte.gz", 32),
    "projection": Family(
        "cifar10/projection.yaml",
        "cifar10/cifar10-train.zip",
        32,
        changes=(
            "model.generator_width=32",
            "model.discriminator_width=32",
            "model.lr=5e-4",
            "model.discriminator_steps=2",
            "model.generator_batch=1.0",
            "model.lr_schedule.until_nimg=100_000",
            "train.batch=32",
            "train.total_nimg=100_000",
        ),
    ),
    "progressive": Family("signs/progressive.yaml", "sign_digits/sign_digits.zip", 64, pyramid=True),
}


def stages(config_path: Path, overrides: list[str]) -> list[tuple[int, GANModule]]:
    """The model before training, half-way and at the end; a run's first checkpoint comes early."""
    config = load(config_path, overrides)
    found = [(0, build_model(config))]
    for path in checkpoints.found(Path(config.run) / "checkpoints")[-2:]:
        saved, model = checkpoints.read(path), build_model(config)
        model.load_state_dict(saved["state_dict"])
        model.on_load_checkpoint(saved)
        found.append((model.clock.nimg, model))
    return found


def trained(path: Path, overrides: list[str], out: Path) -> list[str]:
    """Train a config with a checkpoint half-way; return the overrides that it had."""
    half = load(path, overrides).train.total_nimg // 2
    overrides = [*overrides, f"train.checkpoint_every_nimg={half}", "train.keep_checkpoints=9"]
    subprocess.run([sys.executable, "-m", "ganlab", "train", path, *overrides], check=True, cwd=out)
    return overrides


def distances(
    path: Path, overrides: list[str], reals: ImageSet, extractor: TorchScriptFeatures, standing: int = 0
) -> Iterator[tuple[int, GANModule, dict[str, Any]]]:
    """Images shown, the model and its kernel distance, before training and at each checkpoint of the run."""
    for nimg, model in stages(path, overrides):
        samples = Samples(model.eval(), COUNT, standing=standing)
        (row,) = evaluate(samples, reals, ["kid"], extractor, torch.device("cpu"), about={})
        yield nimg, model, row


def measure(name: str, out: Path, extractor: TorchScriptFeatures) -> None:
    """Train one family and print its row of the table."""
    family = FAMILIES[name]
    folder = out / f"{Path(family.config).parent}-{family.size}"
    pack(SHARED / "data" / family.source, folder, size=family.size, pyramid=family.pyramid)
    path, run = REPOSITORY / "configs" / family.config, out / name
    overrides = [f"data.url={folder}", f"run={run}", "logging.wandb=disabled", "machine.threads=1", *family.changes]
    start = time.monotonic()
    overrides = trained(path, overrides, out)
    seconds = time.monotonic() - start
    reals = open_images(str(folder), min(2 * COUNT, len(ShardDataset(folder))))
    cells = []
    for nimg, _, row in distances(path, overrides, reals, extractor):
        cells.append(f"{row['value']:.4f} ± {row['standard_error']:.4f} at {nimg:,}")
    print(f"| {family.config} | {seconds / 60:.1f} min | {' | '.join(cells)} | {row['floor']:.4f} |", flush=True)


@click.command(help=__doc__)
@click.argument("families", nargs=-1, type=click.Choice(list(FAMILIES)))
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/quality"), show_default=True)
def main(families: tuple[str, ...], out: Path) -> None:
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    extractor = TorchScriptFeatures(path=FEATURES)
    print(f"kid{COUNT}, {extractor.name}, averaged generator, before, halfway and after; floor: real halves")
    for name in families or FAMILIES:
        measure(name, out, extractor)


if __name__ == "__main__":
    main()
