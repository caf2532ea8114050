"""BigGAN on Fashion-MNIST: does the small network learn in minutes on one core, and what does truncation trade?

The distances are `benchmarks/quality.py`'s: 2,000 samples of the averaged generator against 2,000 training images, in
MobileNetV2's features, here with standing statistics. Precision and recall: Kynkaanniemi et al. 2019. It needs the
images and the network of `../shared`. The runs are kept in `runs/large`.
"""

from collections.abc import Iterator

import torch
from learning import FASHION, run_of, told
from quality import COUNT, FEATURES
from rows import Row

from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import Samples, open_images
from ganlab.metrics.features import TorchScriptFeatures

STANDING = 20
TRUNCATIONS = (0.3, 1.0, 3.0)


def rows(seed: int) -> Iterator[Row]:
    """One run: the distance before, half-way and after; then samples that are truncated ever less."""
    path, folder, overrides = run_of("fashion/biggan.yaml", FASHION, 32, seed)
    extractor, reals, cpu = TorchScriptFeatures(path=FEATURES), open_images(str(folder), COUNT), torch.device("cpu")
    model = yield from told("BigGAN", path, overrides, reals, extractor, STANDING)
    precision, recall = list[float](), list[float]()
    for truncation in TRUNCATIONS:
        samples = Samples(model, COUNT, truncation=truncation, standing=STANDING)
        values = {row["metric"]: row["value"] for row in evaluate(samples, reals, ["prdc"], extractor, cpu, about={})}
        precision.append(values["precision"])
        recall.append(values["recall"])
        yield Row("BigGAN", f"precision at {truncation}", precision[-1], "falls", precision[-1] == min(precision))
        yield Row("BigGAN", f"recall at {truncation}", recall[-1], "rises", recall[-1] == max(recall))
