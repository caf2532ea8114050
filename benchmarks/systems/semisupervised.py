"""K + 1 classes on digits with 10 labels each, against the same classifier trained on these labels alone."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from digits import Digits, split, trained
from rows import Row
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganlab.data.read.open import open_data
from ganlab.models import SemiSupervisedGAN
from ganlab.networks.semisupervised import Classifier
from ganlab.types import ImageSpec

SEEDS, STEPS, BATCH, WIDTH, DECAY = 3, 3000, 64, 256, 0.995
"""Steps, batch, width and decay are those of the config."""


def labelled_of(url: str) -> tuple[Tensor, Tensor]:
    """Read the images that have a label, in [-1, 1], and their classes."""
    dataset = open_data(url, labelled=10)
    out = np.empty((len(dataset), 16, 16, 1), np.uint8)
    labels = torch.tensor([dataset.read(i, pixels) for i, pixels in enumerate(out)])
    return torch.from_numpy(out).permute(0, 3, 1, 2) / 127.5 - 1, labels


def supervised_error(url: str, held_out: Digits, seed: int) -> float:
    """Train the classifier with its noise, optimizer and average on the labelled images alone; return its error."""
    images, labels = labelled_of(url)
    torch.manual_seed(seed)
    network = Classifier(image=ImageSpec(16, 16, 1, 10), classes=10, width=WIDTH)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3, betas=(0.5, 0.999))
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(DECAY)
    )
    for _ in range(STEPS):
        chosen = torch.randint(len(images), (BATCH,))
        logits, _ = network(images[chosen], torch.randn(BATCH, sum(network.widths)))
        optimizer.zero_grad()
        cross_entropy(logits, labels[chosen]).backward()
        optimizer.step()
        average.update_parameters(network)
    with torch.no_grad():
        logits, _ = average(held_out.images / 127.5 - 1)
    return error(logits, held_out)


def error(scores: Tensor, digits: Digits) -> float:
    """Return the share of digits whose class has not the highest score."""
    return float((scores.argmax(1) != digits.labels).float().mean())


def rows(seed: int) -> Iterator[Row]:
    """Train both with each seed."""
    ours, live, alone = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        url, _, held_out = split(Path(folder))
        for number in range(seed, seed + SEEDS):
            streams = f"data.url={url}", f"data.other.url={url}"
            model = trained("digits/semisupervised.yaml", Path(folder) / f"run-{number}", number, *streams)
            assert isinstance(model, SemiSupervisedGAN)
            ours.append(error(model.classify(held_out.images), held_out))
            with torch.no_grad():
                live.append(error(model.discriminator(held_out.images / 127.5 - 1)[0], held_out))
            alone.append(supervised_error(url, held_out, number))
    yield Row("K + 1", f"error on held-out digits, mean of {SEEDS} seeds", mean(ours), "reported", True)
    yield Row("K + 1", "the same without the average", mean(live), "reported", True)
    yield Row("K + 1", "the same classifier on the labels alone", mean(alone), "reported", True)
    ratio = mean(ours) / mean(alone)
    yield Row("K + 1", "ratio of the errors", ratio, "< 0.8", ratio < 0.8)
