"""Does a small shipped config learn? Its kernel distance before, half-way and after, as rows of a table.

The distance is `benchmarks/quality.py`'s: 2,000 samples of the averaged generator against real images, in MobileNetV2's
features. It needs the images and the network of `../shared`. The runs are kept in `runs/large`.
"""

import subprocess
import sys
from collections.abc import Iterator

import torch
from quality import COUNT, REPOSITORY, SHARED, stages
from rows import Row

from ganlab.data import ShardDataset
from ganlab.data.make.pack import pack
from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import Samples, open_images
from ganlab.experiment.config import load
from ganlab.metrics.features import TorchScriptFeatures

BAR = 0.2
"""Of the distance before training."""


def learned(system: str, config: str, source: str, size: int, seed: int) -> Iterator[Row]:
    """Train a config on images of `../shared/data`, and measure the model at its checkpoints."""
    out, path = REPOSITORY / "runs/large", REPOSITORY / "configs" / config
    folder, run = out / f"{path.parent.name}-{size}", out / f"{path.parent.name}-{path.stem}-{seed}"
    pack(SHARED / "data" / source, folder, size=size)
    overrides = [f"data.url={folder}", f"run={run}", f"seed={seed}", "logging.wandb=disabled", "machine.threads=1"]
    half = load(path, overrides).train.total_nimg // 2
    overrides += [f"train.checkpoint_every_nimg={half}", "train.keep_checkpoints=9"]
    subprocess.run([sys.executable, "-m", "ganlab", "train", path, *overrides], check=True)
    extractor = TorchScriptFeatures(path=str(SHARED / "weights/mobilenet_v2_features.pt"))
    reals, found = open_images(str(folder), min(2 * COUNT, len(ShardDataset(folder)))), list[float]()
    for nimg, model in stages(path, overrides):
        (row,) = evaluate(Samples(model.eval(), COUNT), reals, ["kid"], extractor, torch.device("cpu"), about={})
        found.append(row["value"])
        yield Row(system, f"kid{COUNT} at {nimg:,} images", found[-1], "less than before", found[-1] <= min(found))
    ratio = found[-1] / found[0]
    yield Row(system, f"kid{COUNT} after, of that before", ratio, f"<= {BAR}", ratio <= BAR)
