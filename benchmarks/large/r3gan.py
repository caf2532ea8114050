"""R3GAN on Fashion-MNIST: does the small network learn, in minutes on one core?

The kernel distance is `benchmarks/quality.py`'s: 2,000 samples of the averaged generator against 2,000 training images,
in MobileNetV2's features. It needs the images and the network of `../shared`. The runs are kept in `runs/large`.
"""

import subprocess
import sys
from collections.abc import Iterator

import torch
from quality import COUNT, REPOSITORY, SHARED, stages
from rows import Row

from ganlab.data.make.pack import pack
from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import Samples, open_images
from ganlab.experiment.config import load
from ganlab.metrics.features import TorchScriptFeatures

CONFIG = REPOSITORY / "configs/fashion/r3gan.yaml"
OUT = REPOSITORY / "runs/large"


def rows(seed: int) -> Iterator[Row]:
    """One run: the distance before, half-way and after."""
    folder, run = OUT / "fashion-32", OUT / f"fashion-r3gan-{seed}"
    pack(SHARED / "data/fashion_mnist/train-images-idx3-ubyte.gz", folder, size=32)
    overrides = [f"data.url={folder}", f"run={run}", f"seed={seed}", "logging.wandb=disabled", "machine.threads=1"]
    half = load(CONFIG, overrides).train.total_nimg // 2
    overrides += [f"train.checkpoint_every_nimg={half}", "train.keep_checkpoints=9"]
    subprocess.run([sys.executable, "-m", "ganlab", "train", CONFIG, *overrides], check=True)
    extractor = TorchScriptFeatures(path=str(SHARED / "weights/mobilenet_v2_features.pt"))
    reals, found = open_images(str(folder), 2 * COUNT), list[float]()
    for nimg, model in stages(CONFIG, overrides):
        (row,) = evaluate(Samples(model.eval(), COUNT), reals, ["kid"], extractor, torch.device("cpu"), about={})
        found.append(row["value"])
        yield Row("R3GAN", f"kid{COUNT} at {nimg:,} images", found[-1], "less than before", found[-1] <= min(found))
    ratio = found[-1] / found[0]
    yield Row("R3GAN", f"kid{COUNT} after, of that before", ratio, "<= 0.2", ratio <= 0.2)
