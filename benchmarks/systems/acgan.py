"""AC-GAN on digits: does a judge agree with the class that was asked for, and do the samples of a class differ?"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from digits import split, trained
from rows import Row
from sklearn.svm import SVC
from torch import Tensor

SAMPLES = 2000


def spread(images: Tensor, labels: Tensor) -> float:
    """Return the mean distance of two images of a class, in pixels of [0, 1], averaged over the classes."""
    pixels = images.flatten(1).float() / 255
    return float(torch.stack([torch.pdist(pixels[labels == k]).mean() for k in range(10)]).mean())


def rows(seed: int) -> Iterator[Row]:
    """Train, sample, and judge."""
    with tempfile.TemporaryDirectory() as folder:
        url, train, held_out = split(Path(folder))
        model = trained("digits/acgan.yaml", Path(folder) / "run", seed, f"data.url={url}")
    judge = SVC().fit(train.images.flatten(1) / 255, train.labels)
    labels = torch.arange(SAMPLES) % 10
    images = model.sample(SAMPLES, seed, labels=list(range(10)))
    agree = judge.score(images.flatten(1) / 255, labels)
    of_reals = judge.score(held_out.images.flatten(1) / 255, held_out.labels)
    yield Row(
        "AC-GAN", "samples of the class that was asked for", agree, f">= 0.90 (held-out: {of_reals:.3f})", agree >= 0.9
    )
    varied = spread(images, labels) / spread(train.images, train.labels)
    yield Row("AC-GAN", "distance of samples of a class, to that of reals", varied, ">= 0.7", varied >= 0.7)
    with torch.no_grad():
        _, classes = model.discriminator(held_out.images / 127.5 - 1)
    known = float((classes.argmax(1) == held_out.labels).float().mean())
    yield Row("AC-GAN", "held-out digits whose class the discriminator knows", known, ">= 0.9", known >= 0.9)
