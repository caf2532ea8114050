"""The metrics of images: what each needs of the two sides, and the values that it returns."""

import math
import re
from collections.abc import Iterable

import torch
from torch import Tensor

from ganlab.classes import named
from ganlab.evaluation import judged, points
from ganlab.evaluation.metric import Metric, Value
from ganlab.evaluation.results import HIGHER_IS_BETTER, NEITHER
from ganlab.evaluation.side import Side
from ganlab.metrics.frechet import frechet_distance
from ganlab.metrics.inception_score import inception_score
from ganlab.metrics.kernel import kernel_distance
from ganlab.metrics.moments import Moments
from ganlab.metrics.power import radial_power, spectral_distance
from ganlab.metrics.prdc import nearest, precision_recall_density_coverage
from ganlab.metrics.probe import probe_accuracy
from ganlab.metrics.swd import sliced_wasserstein
from ganlab.types import UserError

SPECTRA = 1024
"""Images of each side of which spectra are taken."""


def fid(fakes: Side, reals: Side) -> dict[str, Value]:
    """Fréchet distance; the standard error is that of the mean of four quarters of the fakes."""
    real = reals.total()
    quarters = torch.tensor([frechet_distance(real, part) for part in fakes.moments])
    return {
        "fid": Value(
            frechet_distance(real, fakes.total()),
            float(quarters.std() / math.sqrt(len(quarters))),
            frechet_distance(*reals.halves()),
            biased=min(len(fakes), len(reals)) <= len(real.mean),
        )
    }


def kid(fakes: Side, reals: Side) -> dict[str, Value]:
    """Kernel distance."""
    real = reals.features()
    mean, error = kernel_distance(fakes.features(), real)
    return {"kid": Value(mean, error, kernel_distance(real[0::2], real[1::2])[0])}


def prdc(fakes: Side, reals: Side) -> dict[str, Value]:
    """Precision, recall, density and coverage."""
    real = reals.features()
    found = precision_recall_density_coverage(fakes.features(), real)
    floor = precision_recall_density_coverage(real[0::2], real[1::2])
    return {name: Value(value, floor=floor[name]) for name, value in found.items()}


def score(fakes: Side, reals: Side) -> dict[str, Value]:
    """Inception score over ten splits; without an error if a split has one image, whose score is 1."""
    logits = fakes.read("features", "logits")
    mean, deviation = inception_score(logits)
    return {"is": Value(mean, deviation / math.sqrt(10) if len(logits) >= 20 else None)}


def intra_fid(fakes: Side, reals: Side) -> dict[str, Value]:
    """The mean over classes of the Fréchet distance within each (Miyato & Koyama 2018, section 6)."""
    (fake, fake_labels), (real, real_labels) = labelled(fakes), labelled(reals)
    distances, floors, least = [], [], len(real)
    for label in range(reals.images.classes):
        f, r = fake[fake_labels == label], real[real_labels == label]
        if min(len(f), len(r) // 2) < 2:
            raise UserError(
                f"intra_fid: class {named(label, reals.images.class_names)} has {len(f)} fakes and {len(r)} reals, "
                "too few for a covariance; ask for more with -n, or leave the metric out"
            )
        distances.append(frechet_distance(Moments.of(r), Moments.of(f)))
        floors.append(frechet_distance(Moments.of(r[0::2]), Moments.of(r[1::2])))
        least = min(least, len(f), len(r))
    mean, floor = (math.fsum(values) / len(values) for values in (distances, floors))
    return {"intra_fid": Value(mean, floor=floor, biased=least <= real.shape[1])}


def swd(fakes: Side, reals: Side) -> dict[str, Value]:
    """Sliced Wasserstein distance of each level, finest first, and their mean."""
    levels = {}
    for level in reals.stores["patches"].names():  # one at a time: a level of 16,384 images takes 1.2 GB a side
        fake, real = (side.read("patches", level) for side in (fakes, reals))  # n patches c 7 7
        even, odd = (real[part : len(real) // 2 * 2 : 2].flatten(0, 1) for part in (0, 1))
        distance = sliced_wasserstein(fake.flatten(0, 1), real.flatten(0, 1))
        levels[f"swd_level{level}"] = Value(distance, floor=sliced_wasserstein(even, odd))
    values, floors = zip(*((level.value, level.floor or 0.0) for level in levels.values()), strict=True)
    return {"swd": Value(math.fsum(values) / len(levels), floor=math.fsum(floors) / len(levels)), **levels}


def msssim(fakes: Side, reals: Side) -> dict[str, Value]:
    """Mean similarity of pairs of fakes of a class (Odena et al. 2017, section 4.2); the floor is that of reals."""
    fake, real = (side.read("pairs", "similarity") for side in (fakes, reals))
    fake, real = fake[fake >= 0], real[real >= 0]
    error = float(fake.std() / math.sqrt(len(fake))) if len(fake) > 1 else None
    return {"msssim": Value(float(fake.mean()), error, float(real.mean()))}


def memory(fakes: Side, reals: Side) -> dict[str, Value]:
    """Median distance of a fake to its nearest real; far below the floor, the fakes are copies."""
    real = reals.features()
    distance, _ = nearest(fakes.features(), real, 1)
    floor, _ = nearest(real[0::2], real[1::2], 1)
    return {"neighbours": Value(float(distance.median()), floor=float(floor.median()))}


def spectrum(fakes: Side, reals: Side) -> dict[str, Value]:
    """Mean difference of the power spectra of fakes and reals, in dB."""
    real = images_of(reals)
    of_fakes, of_reals, even, odd = (radial_power(each)[1] for each in (images_of(fakes), real, real[0::2], real[1::2]))
    return {"spectrum": Value(spectral_distance(of_fakes, of_reals), floor=spectral_distance(even, odd))}


def images_of(side: Side) -> Tensor:
    """Return the images of which spectra are taken [n, c, h, w], in [0, 1]."""
    images, _ = side.images.block(0)
    return side.values(SPECTRA).view(-1, *images.shape[1:])


def classification_accuracy_score(fakes: Side, reals: Side) -> dict[str, Value]:
    """Accuracy on reals of a linear probe trained on fakes; the floor's is trained on half of the reals."""
    (fake, fake_labels), (real, labels) = labelled(fakes), labelled(reals)
    accuracy = probe_accuracy(fake, fake_labels, real, labels, classes=reals.images.classes)
    return {"cas": Value(accuracy, floor=probe(reals))}


def reconstruction(fakes: Side, reals: Side) -> dict[str, Value]:
    """Mean absolute error, of levels in [0, 1], and PSNR, in dB, of images that are made of others."""
    found = {name: fakes.read("errors", name) for name in VALUES["reconstruction"]}
    return {name: Value(float(of.mean()), float(of.std() / math.sqrt(len(of)))) for name, of in found.items()}


def probe(reals: Side) -> float:
    """Accuracy on half of the reals of a linear probe trained on the other half."""
    real, labels = labelled(reals)
    return probe_accuracy(real[0::2], labels[0::2], real[1::2], labels[1::2], classes=reals.images.classes)


def labelled(side: Side) -> tuple[Tensor, Tensor]:
    """Return features and labels."""
    return side.features(), side.read("features", "labels")


METRICS = {
    "fid": Metric(fid, frozenset({"moments"})),
    "kid": Metric(kid, frozenset({"features"}), {"subsets": 100, "subset_size": 1000, "kernel": "(x.y/d + 1)^3"}),
    "prdc": Metric(prdc, frozenset({"features"}), {"neighbours": 3, "neighbours_dc": 5}),
    "is": Metric(score, frozenset({"features", "logits"}), {"splits": 10}, of="fakes"),
    "intra_fid": Metric(intra_fid, frozenset({"features", "labels"})),
    "swd": Metric(swd, frozenset({"patches"}), {"patches": 128, "directions": 512}),
    "msssim": Metric(msssim, frozenset({"pairs"})),
    "neighbours": Metric(memory, frozenset({"features"})),
    "spectrum": Metric(spectrum, frozenset({"values"}), {"unit": "dB"}, fakes=SPECTRA, reals=SPECTRA),
    "cas": Metric(classification_accuracy_score, frozenset({"features", "labels"}), {"classifier": "linear probe"}),
    "reconstruction": Metric(reconstruction, frozenset({"errors"}), {"levels": "[0, 1]"}, of="fakes"),
    "probe": Metric(
        lambda _, reals: {"probe": Value(probe(reals))},
        frozenset({"features", "labels"}),
        {"classifier": "linear probe"},
        of="discriminator",
    ),
    "field": judged.METRIC,
    **points.METRICS,
}

VALUES = {
    "prdc": ("precision", "recall", "density", "coverage"),
    "reconstruction": ("l1", "psnr"),
    **points.VALUES,
}
"""Names of a metric's values, if they differ from its own."""


def values_of(metrics: Iterable[str]) -> list[str]:
    """Return the names of the values of some metrics."""
    return [value for metric in metrics for value in VALUES.get(metric, (metric,))]


def value_in(name: str, values: Iterable[str]) -> str | None:
    """Return the value among `values` that a short (`fid`) or full name (`biased-fid50k_...`) is of, or None."""
    rest = name.removeprefix("biased-")
    return next((value for value in values if re.fullmatch(rf"{value}(_level\d+)?([-_\d].*)?", rest)), None)


def higher_is_better(name: str | None) -> bool:
    """Tell whether higher values of a name are better; for losses they never are."""
    return name is not None and value_in(name, HIGHER_IS_BETTER) is not None


def check_best(name: str | None, metrics: Iterable[str]) -> None:
    """Refuse a `keep_best` that is no value of these metrics; a player's terms are not known yet."""
    if name is None or "/" in name:
        return
    values = [value for value in values_of(metrics) if value not in NEITHER]
    if value_in(name, values) is None:
        there = ", ".join([*values, "a player's loss (generator/loss)"])
        raise UserError(
            f"train.keep_best: {name}: no evaluation measures that; choose from {there}, or set evaluation.every_nimg "
            "and evaluation.metrics"
        )
