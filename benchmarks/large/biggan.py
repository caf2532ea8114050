"""BigGAN on Fashion-MNIST: does the small network learn in minutes on one core, and what does truncation trade?

The distances are `benchmarks/quality.py`'s: 2,000 samples of the averaged generator against 2,000 training images, in
MobileNetV2's features, here with standing statistics. Precision and recall: Kynkaanniemi et al. 2019. It needs the
images and the network of `../shared`. The runs are kept in `runs/large`.
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

CONFIG = REPOSITORY / "configs/fashion/biggan.yaml"
OUT = REPOSITORY / "runs/large"
STANDING = 20
TRUNCATIONS = (0.3, 1.0, 3.0)


def rows(seed: int) -> Iterator[Row]:
    """One run: the distance before, half-way and after; then samples that are truncated ever less."""
    folder, run = OUT / "fashion-32", OUT / f"fashion-biggan-{seed}"
    pack(SHARED / "data/fashion_mnist/train-images-idx3-ubyte.gz", folder, size=32)
    overrides = [f"data.url={folder}", f"run={run}", f"seed={seed}", "logging.wandb=disabled"]
    half = load(CONFIG, overrides).train.total_nimg // 2
    overrides += [f"train.checkpoint_every_nimg={half}", "train.keep_checkpoints=9"]
    subprocess.run([sys.executable, "-m", "ganlab", "train", CONFIG, *overrides], check=True)
    extractor = TorchScriptFeatures(path=str(SHARED / "weights/mobilenet_v2_features.pt"))
    reals, cpu, found = open_images(str(folder), COUNT), torch.device("cpu"), list[float]()
    for nimg, model in stages(CONFIG, overrides):
        samples = Samples(model.eval(), COUNT, standing=STANDING)
        (row,) = evaluate(samples, reals, ["kid"], extractor, cpu, about={})
        found.append(row["value"])
        yield Row("BigGAN", f"kid{COUNT} at {nimg:,} images", found[-1], "less than before", found[-1] <= min(found))
    ratio = found[-1] / found[0]
    yield Row("BigGAN", f"kid{COUNT} after, of that before", ratio, "<= 0.2", ratio <= 0.2)
    precision, recall = list[float](), list[float]()
    for truncation in TRUNCATIONS:
        samples = Samples(model, COUNT, truncation=truncation, standing=STANDING)
        values = {row["metric"]: row["value"] for row in evaluate(samples, reals, ["prdc"], extractor, cpu, about={})}
        precision.append(values["precision"])
        recall.append(values["recall"])
        yield Row("BigGAN", f"precision at {truncation}", precision[-1], "falls", precision[-1] == min(precision))
        yield Row("BigGAN", f"recall at {truncation}", recall[-1], "rises", recall[-1] == max(recall))
