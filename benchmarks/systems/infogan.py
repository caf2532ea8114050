"""InfoGAN on digits: what images tell of their codes, with the bound and without it (weight 0).

`by Q` is the bound with the discriminator's second head, which learns nothing at weight 0. So both runs are also judged
by a logistic regression that is fitted to half of the samples: without the bound, images do depend on their category,
as on any other input, but it is no cluster of the data.
"""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from digits import split, trained
from rows import Row
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor

from ganlab.models import InfoGAN
from ganlab.seeding import Noise

SAMPLES = 2048
BATCH = 64


@torch.no_grad()
def samples(model: InfoGAN, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return latents, what the averaged generator makes of them, and the guesses of their codes."""
    latents, labels = model.draw_latents(SAMPLES, Noise(seed, 0), "judged")
    images = torch.cat([model.ema(z, y) for z, y in zip(latents.split(BATCH), labels.split(BATCH), strict=True)])
    guesses = torch.cat([model.discriminator(part)[1] for part in images.split(BATCH)])
    return latents, images, guesses


def information_in(images: Tensor, category: Tensor) -> float:
    """Return what a logistic regression reads of the category, in nats: a lower bound of the mutual information."""
    half, pixels = len(images) // 2, images.flatten(1).numpy()
    judge = LogisticRegression(max_iter=200).fit(pixels[:half], category[:half])
    return math.log(10) - log_loss(category[half:], judge.predict_proba(pixels[half:]), labels=range(10))


def rows(seed: int) -> Iterator[Row]:
    """Train both, and judge them."""
    with tempfile.TemporaryDirectory() as folder:
        url, _, held_out = split(Path(folder))
        for weight in (1.0, 0.0):
            run = Path(folder) / f"weight-{weight:g}"
            model = trained("digits/infogan.yaml", run, seed, f"data.url={url}", f"model.weight={weight}")
            assert isinstance(model, InfoGAN)
            latents, images, guesses = samples(model, seed)
            _, category, code = latents.split(model.prior.widths, 1)
            read = information_in(images, category.argmax(1))
            name = f"InfoGAN, weight {weight:g}"
            _, found = model.code_loss(latents, guesses)
            by_q = float(found["information"].mean())
            what = "information on the category in samples, nats"
            if not weight:
                yield Row(name, f"{what}, by Q", by_q, "<= 0.1", by_q <= 0.1)
                yield Row(name, f"{what}, by a regression", read, "reported", True)
                break
            yield Row(name, f"{what}, by Q", by_q, ">= 2.0", by_q >= 2.0)
            yield Row(name, f"{what}, by a regression", read, ">= 2.0", read >= 2.0)
            for number in range(code.shape[1]):
                pair = torch.stack([code[:, number], guesses[:, category.shape[1] + number]])
                like = float(torch.corrcoef(pair)[0, 1])
                yield Row(name, f"correlation of continuous code {number} and its guess", like, ">= 0.8", like >= 0.8)
            with torch.no_grad():
                _, of_reals = model.discriminator(held_out.images / 127.5 - 1)
            clusters = of_reals[:, : category.shape[1]].argmax(1)
            agree = matched(clusters, held_out.labels)
            yield Row(name, "held-out digits whose cluster is their class's", agree, "reported", True)


def matched(clusters: Tensor, labels: Tensor) -> float:
    """Return the share of images in the cluster of their class, with the best pairing of clusters and classes."""
    from scipy.optimize import linear_sum_assignment

    counts = torch.zeros(10, 10).index_put_((clusters, labels), torch.ones(len(labels)), accumulate=True)
    return float(counts[linear_sum_assignment(-counts)].sum() / len(labels))
