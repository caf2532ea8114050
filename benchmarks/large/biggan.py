"""BigGAN on Fashion-MNIST: does the small network learn in minutes on one core, and what does truncation trade?

The distances are `benchmarks/quality.py`'s: 2,000 samples of the averaged generator against 2,000 training images, in
MobileNetV2's features, here with standing statistics. Precision and recall: Kynkaanniemi et al. 2019. It needs the
images and the network of `../shared`. The runs are kept in `runs/large`, with a chart of the truncations.
"""

from collections.abc import Iterator
from typing import Any

import torch
from learning import FASHION, OUT, run_of, told
from quality import COUNT, FEATURES
from rows import Row

from ganlab.evaluation import sweep
from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import Samples, open_images
from ganlab.metrics.features import TorchScriptFeatures

LONGER = "train.total_nimg=60_000"
"""After the config's 40,000 images truncation has nothing to trade yet: hardly a real is near the samples."""
STANDING = 20
TRUNCATIONS = (0.3, 0.6, 1.0, 3.0)
TRADED = {"precision": "falls", "recall": "rises", "kid": "recorded"}
"""What each does as the threshold rises (Brock et al. 2019, section 3.1)."""


def rows(seed: int) -> Iterator[Row]:
    """One run: the distance before, half-way and after; then samples that are truncated ever less."""
    path, folder, overrides = run_of("fashion/biggan.yaml", FASHION, 32, seed, LONGER)
    extractor, reals, cpu = TorchScriptFeatures(path=FEATURES), open_images(str(folder), COUNT), torch.device("cpu")
    model = yield from told("BigGAN", path, overrides, reals, extractor, STANDING)
    swept = list[dict[str, Any]]()
    for truncation in TRUNCATIONS:
        samples = Samples(model, COUNT, truncation=truncation, standing=STANDING)
        swept += evaluate(samples, reals, ["prdc", "kid"], extractor, cpu, about={})
        for name, course in TRADED.items():
            values = [row["value"] for row in swept if row["metric"] == name]
            extreme = {"falls": min, "rises": max}.get(course)
            met = extreme is None or values[-1] == extreme(values)
            yield Row("BigGAN", f"{name} at {truncation}", values[-1], course, met)
    sweep.draw(swept, OUT / f"fashion-biggan-{seed}/truncation.png")
