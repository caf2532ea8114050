"""The metrics of points, in their own units, and those that take the pixels of images as they are, in [0, 1]."""

import math

import numpy as np
import torch

from ganlab.data.read.distributions import Mixture
from ganlab.evaluation.images import ImageSet, Points, Samples
from ganlab.evaluation.metric import Metric, Value
from ganlab.evaluation.side import Side
from ganlab.metrics.jacobian import log_condition_numbers
from ganlab.metrics.mmd import median_distance, two_sample_test
from ganlab.metrics.modes import NEAR, modes_of
from ganlab.metrics.parzen import parzen_log_likelihood
from ganlab.seeding import SAMPLE_BATCH, Noise
from ganlab.types import UserError

VALIDATION = 1000
"""Reals that choose the width of a Parzen window; others are the test."""
IN_PIXELS = torch.logspace(-1, 0, 10).tolist()
"""Widths of Parzen windows over images (Goodfellow et al. 2014, in their code)."""
IN_DEVIATIONS = torch.logspace(-3, 0, 13).tolist()
"""The same over points, as multiples of the reals' deviation, the root of their mean variance."""
RATIOS = (1.0, 1 / 4, 1 / 16, 1 / 64)
"""Widths of the kernels of the two-sample test, as multiples of the median distance."""


def modes(fakes: Side, reals: Side) -> dict[str, Value]:
    """Modes covered, share of high quality, reverse KL over the modes."""
    toy = mixture_of(reals.images)
    assert toy is not None
    points = fakes.values(METRICS["modes"].fakes) * toy.extent
    centres = np.stack(toy.centres(np.arange(toy.image.classes)), 1)
    found = modes_of(points, torch.from_numpy(centres).to(points), toy.std)
    error = math.sqrt(found.high_quality * (1 - found.high_quality) / len(points))
    return {
        "modes": Value(float(found.covered)),
        "high_quality": Value(found.high_quality, error),
        "reverse_kl": Value(found.reverse_kl),
    }


def moments(fakes: Side, reals: Side) -> dict[str, Value]:
    """Mean and deviation of points of one coordinate; the floors are those of the reals."""
    fake, real = both(fakes, reals, METRICS["moments"])
    error = float(fake.std() / math.sqrt(len(fake)))
    return {
        "mean": Value(float(fake.mean()), error, float(real.mean())),
        "deviation": Value(float(fake.std()), None, float(real.std())),
    }


def mmd(fakes: Side, reals: Side) -> dict[str, Value]:
    """Squared MMD, and the probability of as much between two sets of one distribution."""
    fake, real = both(fakes, reals, METRICS["mmd"])
    widths = median_distance(fake, real) * torch.tensor(RATIOS)
    found = two_sample_test(fake, real, widths)
    return {"mmd": Value(found.squared_mmd), "p_value": Value(found.p)}


def parzen(fakes: Side, reals: Side) -> dict[str, Value]:
    """Log-likelihood of reals under Parzen windows around fakes; see `parzen_log_likelihood` for why to mistrust it."""
    fake, real = both(fakes, reals, METRICS["parzen"])
    validation, test = real.tensor_split([min(VALIDATION, len(real) // 2)])
    deviation = float(validation.var(0).mean().sqrt())
    points = isinstance(reals.images, Points)
    sigmas = [ratio * deviation for ratio in IN_DEVIATIONS] if points else IN_PIXELS
    found = parzen_log_likelihood(fake, validation, test, sigmas)
    return {"parzen": Value(found.mean, found.standard_error), "sigma": Value(found.sigma)}


def both(fakes: Side, reals: Side, metric: Metric) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the values of both sides [n, d], in the units of the reals."""
    return fakes.values(metric.fakes) * reals.images.extent, reals.values(metric.reals) * reals.images.extent


def conditioning(fakes: Side, _: Side) -> dict[str, Value]:
    """Mean log condition number of the averaged generator's Jacobian."""
    assert isinstance(fakes.images, Samples)
    model = fakes.images.model
    latents, labels = model.draw_latents(SAMPLE_BATCH, Noise(0, 0, 0, dtype=model.real_dtype), "evaluation")
    latents, labels = latents.to(model.device), labels.to(model.device)
    model.averaged(latents, labels)  # brings a network that grows to its present size
    found = log_condition_numbers(lambda z: model.ema(z, labels), latents)
    return {"conditioning": Value(float(found.mean()), float(found.std() / math.sqrt(len(found))))}


METRICS = {
    "modes": Metric(
        modes, frozenset({"values"}), {"near": f"{NEAR:g} std"}, of="mixture", fakes=2500, tag=f"{NEAR:g}std"
    ),
    "moments": Metric(moments, frozenset({"values"}), fakes=10_000, reals=10_000),
    "mmd": Metric(
        mmd,
        frozenset({"values"}),
        {"kernel": "gaussian, median distance x 1, 1/4, 1/16, 1/64", "permutations": 200},
        fakes=1000,
        reals=1000,
    ),
    "parzen": Metric(
        parzen,
        frozenset({"values"}),
        {"validation": VALIDATION, "widths": "10 from .1 to 1; of points 13 from .001 to 1 deviations"},
        fakes=10_000,
        reals=VALIDATION + 10_000,
        tag="valid1k",
    ),
    "conditioning": Metric(conditioning, frozenset({"generator"}), of="fakes", fakes=SAMPLE_BATCH),
}
VALUES = {
    "modes": ("modes", "high_quality", "reverse_kl"),
    "moments": ("mean", "deviation"),
    "mmd": ("mmd", "p_value"),
    "parzen": ("parzen", "sigma"),
}


def mixture_of(images: ImageSet) -> Mixture | None:
    """Return the mixture that points are drawn from; None if they are not, or are no points."""
    toy = images.dataset.toy if isinstance(images, Points) else None
    return toy if isinstance(toy, Mixture) else None


def on_a_line(images: ImageSet) -> bool:
    """Tell whether the images are points of one coordinate."""
    return isinstance(images, Points) and images.dataset.image.channels == 1


def fitting(reals: ImageSet) -> tuple[str, ...]:
    """Return the metrics that fit the reals, where nobody chose any."""
    if not isinstance(reals, Points):
        return ("fid",)
    return (*["modes"] * (mixture_of(reals) is not None), *["moments"] * on_a_line(reals), "mmd")


def refuse_points(name: str, fakes: ImageSet, reals: ImageSet) -> None:
    """Refuse metrics of images on points, and those of points where they have no meaning."""
    what = ""
    if isinstance(reals, Points) and name not in METRICS:
        what = f"takes images, and {reals.name} has points; choose from {', '.join(METRICS)}"
    elif name == "modes" and mixture_of(reals) is None:
        what = f"{reals.name} is no mixture of points, such as toy:ring; leave it out of the metrics"
    elif name == "moments" and not on_a_line(reals):
        what = f"{reals.name} has no points of one coordinate, such as toy:gaussian; leave it out of the metrics"
    elif name == "conditioning" and not isinstance(fakes, Samples):
        what = "needs a run; leave it out of the metrics"
    elif name == "conditioning" and isinstance(fakes, Samples) and fakes.truncation is not None:
        what = "is measured at latents that are not truncated; leave it out of the metrics, or --truncation"
    if what:
        raise UserError(f"{name}: {what}")
