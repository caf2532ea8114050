"""One evaluation: fakes against reals by several metrics, shared by all ranks."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganlab import distributed
from ganlab.evaluation.discriminator import DiscriminatorFeatures
from ganlab.evaluation.images import BLOCK, ImageSet, Samples
from ganlab.evaluation.judged import draw_field
from ganlab.evaluation.made import Made, refuse_unpaired
from ganlab.evaluation.measures import METRICS, images_of
from ganlab.evaluation.metric import Metric
from ganlab.evaluation.points import refuse_points
from ganlab.evaluation.protocol import failed_row, name_of, protocol_of, row_of
from ganlab.evaluation.side import PATCH_IMAGES, Side
from ganlab.evaluation.store import on_all
from ganlab.metrics.features import Extractor
from ganlab.metrics.msssim import WINDOW
from ganlab.metrics.power import SMALLEST, radial_power
from ganlab.metrics.prdc import nearest
from ganlab.metrics.swd import PATCH
from ganlab.pictures.grids import grid
from ganlab.pictures.panels import Line, Panel
from ganlab.pictures.tiles import save_png
from ganlab.types import UserError

SEED = 0
"""Seed of the samples: the same for every evaluation, so that their noise does not hide a difference."""
LEAST = 16
"""Least number of images on each side."""
ALIKE = frozenset({"swd", "neighbours", "spectrum", "modes", "moments", "mmd", "parzen"})
"""Metrics that need fakes and reals of one shape."""
QUERIES = 10
NEIGHBOURS = 7


def evaluate(
    fakes: ImageSet,
    reals: ImageSet,
    metrics: Sequence[str],
    extractor: Extractor | None,
    device: torch.device,
    *,
    about: Mapping[str, Any],
    pictures: Path | None = None,
    going_on: bool = False,
) -> list[dict[str, Any]]:
    """Return one row of results per value, on rank 0; to be called on all ranks, with a settled generator.

    Raises `UserError` on all ranks if something cannot be measured.

    Args:
        fakes: the images to evaluate.
        reals: the images to compare them with.
        metrics: names of `METRICS`.
        extractor: on `device`; None where no metric needs one.
        device: where features are computed and compared.
        about: `circumstances`, for every row.
        pictures: folder for what metrics draw; None draws none.
        going_on: a metric that fails gets a row with the reason and no value, instead of raising.
    """
    check(metrics, fakes, reals, extractor)
    start = time.monotonic()
    chosen = {name: METRICS[name] for name in metrics}
    patch_images = min(len(fakes), len(reals), PATCH_IMAGES)
    with ExitStack() as sides:
        counts = [(metric.fakes or 0, metric.reals or 0) for metric in chosen.values()]
        kept, real_kept = map(max, zip(*counts, strict=True))
        passing = isinstance(fakes, Samples | Made)
        fake = sides.enter_context(Side(fakes, extractor, device, patch_images, passing, kept))
        real = sides.enter_context(Side(reals, extractor, device, patch_images, values=real_kept))
        fake.prepare(needs_of(chosen.values(), "both", "fakes", "mixture"))
        real.prepare(needs_of(chosen.values(), "both"))
        judges = {"both": real, "fakes": real, "mixture": real}
        if isinstance(fakes, Samples) and "probe" in chosen:
            probe = DiscriminatorFeatures(fakes.model)
            judges["discriminator"] = sides.enter_context(Side(reals, probe, device, patch_images, passing=True))
            judges["discriminator"].prepare(chosen["probe"].needs)
        rows = on_all(lambda: measured(chosen, fake, judges, pictures, going_on) if distributed.rank() == 0 else [])
    seconds = round(time.monotonic() - start, 3)
    return [{**row, **about, "seed": SEED, "seconds": seconds} for row in rows]


def measured(
    metrics: Mapping[str, Metric], fakes: Side, judges: Mapping[str, Side], pictures: Path | None, going_on: bool
) -> list[dict[str, Any]]:
    """Compute each metric against its side of `judges`, by the metric's `of`, and draw what `DRAWN` has of it."""
    rows = []
    for name, metric in metrics.items():
        try:
            rows += rows_of(metric, fakes, judges[metric.of])
            if name in DRAWN and pictures is not None:
                save_png(DRAWN[name](fakes, judges[metric.of]), pictures / f"{name}.png")
        except Exception as error:
            if not going_on:
                raise
            rows.append(failed_row(name, error))
    return rows


def needs_of(metrics: Iterable[Metric], *of: str) -> frozenset[str]:
    """Return the needs of the metrics whose `of` is given."""
    return frozenset().union(*(metric.needs for metric in metrics if metric.of in of))


def rows_of(metric: Metric, fakes: Side, reals: Side) -> list[dict[str, Any]]:
    """Compute a metric, and return one row per value; UserError if one is not finite."""
    protocol, rows = protocol_of(metric, fakes, reals), []
    for key, found in metric.measure(fakes, reals).items():
        if not math.isfinite(found.value):
            raise UserError(f"{key}: {found.value}: constant images, or too few of them, have no such distance")
        rows.append(row_of(name_of(key, found.biased, protocol, metric.tag), key, found, protocol))
    return rows


def make_extractor(part: Any, trust: Sequence[str]) -> Extractor | None:
    """Make the extractor of a config; UserError if the part is invalid or its files are missing."""
    if part is None:
        return None
    from ganlab.experiment.parts import build, check_value

    if complaints := list(check_value(part, Extractor, "evaluation.extractor", trust)):
        raise UserError(
            f"{'; '.join(complaints)}; write for example "
            "{_target_: ganlab.metrics.features.TorchScriptFeatures, path: weights/inception.pt}"
        )
    extractor: Extractor = build(part, Extractor, trust)
    return extractor


def check_names(metrics: Sequence[str]) -> None:
    """Refuse unknown metrics."""
    if not metrics or (unknown := [name for name in metrics if name not in METRICS]):
        raise UserError(f"metrics: {', '.join(unknown) if metrics else 'none'}; choose from {', '.join(METRICS)}")


def check(metrics: Sequence[str], fakes: ImageSet, reals: ImageSet, extractor: Extractor | None) -> None:
    """Refuse what cannot be measured, before measuring, on every rank."""
    check_names(metrics)
    for name in metrics:
        needs, probing = METRICS[name].needs, METRICS[name].of == "discriminator" or name == "field"
        refuse_points(name, fakes, reals)
        refuse_unpaired(name, fakes)
        if probing and (not isinstance(fakes, Samples) or distributed.world_size() > 1):
            raise UserError(f"{name}: needs a run, and one process; leave it out of the metrics")
        if probing and isinstance(fakes, Samples) and fakes.exported:
            raise UserError(
                f"{name}: {fakes.name} is an exported generator, which has no discriminator; evaluate the run that it "
                "was exported from, or leave the metric out"
            )
        if name == "field" and isinstance(fakes, Samples) and not has_judge(fakes):
            raise UserError(f"{name}: {type(fakes.model).__name__} judges no images; leave it out of the metrics")
        if probing and isinstance(fakes, Samples) and "discriminator" not in fakes.model.networks:
            raise UserError(f"{name}: {type(fakes.model).__name__} has no discriminator; leave it out of the metrics")
        if extractor is None and takes_extractor(METRICS[name]):
            raise UserError(
                f"{name}: needs an extractor; name a TorchScript file with --extractor, or a part in "
                "evaluation.extractor; without one there are "
                f"{', '.join(other for other, metric in METRICS.items() if not takes_extractor(metric))}"
            )
        if "labels" in needs and (
            without := [images.name for images in ((reals,) if probing else (reals, fakes)) if not images.classes]
        ):
            raise UserError(f"{name}: needs labels, and {without[0]} has none; leave the metric out")
        if "logits" in needs and extractor is not None and not extractor.classifies:
            raise UserError(f"{name}: needs a classifier, and {extractor.name} returns no logits; leave it out")
    for images in (fakes, reals):
        if len(images) < LEAST:
            raise UserError(f"{images.name}: {len(images)} images; give at least {LEAST}")
    if alike := ALIKE & set(metrics):
        fake, real = shape_of(fakes), shape_of(reals)
        if fake != real:
            raise UserError(
                f"{min(alike)}: {fakes.name} and {reals.name} have images of [c, h, w] {fake} and {real}; "
                "bring them to one size with `ganlab data pack`, or leave the metric out"
            )
        if "swd" in alike and min(real[1:]) < PATCH:
            raise UserError(
                f"swd: {reals.name} has images of {real[1]}x{real[2]} px, and its patches are {PATCH}x{PATCH}; "
                "leave the metric out"
            )
    for images in (fakes, reals) if "msssim" in metrics else ():
        _, height, width = shape_of(images)
        if min(height, width) < WINDOW:
            raise UserError(
                f"msssim: {images.name} has images of {height}x{width} px, and its window is {WINDOW}x{WINDOW}; leave "
                "the metric out"
            )
    if any("labels" in METRICS[name].needs for name in metrics):
        refuse_other_numbers(fakes, reals)


def shape_of(images: ImageSet) -> list[int]:
    """Return channels, height and width of images; a model says them without making any."""
    return [*(images.model.image.shape if isinstance(images, Samples) else images.block(0)[0].shape[1:])]


def takes_extractor(metric: Metric) -> bool:
    """Tell whether a metric takes features other than the discriminator's own."""
    return bool(metric.needs & {"moments", "features"}) and metric.of != "discriminator"


def has_judge(fakes: Samples) -> bool:
    """Tell whether a game scores images."""
    from ganlab.evaluation.fields import judges  # brings Lightning, which only models need

    return judges(fakes.model)


def refuse_other_numbers(fakes: ImageSet, reals: ImageSet) -> None:
    """Refuse classes that have one name and two numbers, since classes are compared by their numbers."""
    for number, name in enumerate(fakes.class_names):
        if name in reals.class_names and (other := reals.class_names.index(name)) != number:
            raise UserError(
                f"{reals.name}: class {name!r} is number {other} there and {number} of {fakes.name}; give images of "
                "the same classes in the same order, or leave out the metrics that need labels"
            )


def draw_neighbours(fakes: Side, reals: Side) -> Image.Image:
    """Draw one row per fake, for the first fakes: the fake, then its nearest reals."""
    queries = fakes.features()[:QUERIES]
    _, numbers = nearest(queries, reals.features(), NEIGHBOURS)
    cells = []
    for query, found in enumerate(numbers.tolist()):
        cells += [picture_of(fakes, query), *(picture_of(reals, number) for number in found)]
    return grid(torch.stack(cells), 1 + NEIGHBOURS)


def draw_spectra(fakes: Side, reals: Side) -> Image.Image:
    """Draw the power spectra of both sides."""
    from ganlab.pictures.charts import image_of  # matplotlib, needed only here

    lines = []
    for number, (name, side) in enumerate({"reals": reals, "fakes": fakes}.items()):
        frequencies, power = (values.cpu().numpy() for values in radial_power(images_of(side)))
        lines.append(Line(name, frequencies, 10 * np.log10(np.maximum(power, SMALLEST)), number, number))
    return image_of(Panel("Power spectrum, dB", lines, across="cycles per pixel; a checkerboard is at the right end"))


DRAWN: dict[str, Callable[[Side, Side], Image.Image]] = {
    "neighbours": draw_neighbours,
    "spectrum": draw_spectra,
    "field": draw_field,
}
"""What metrics draw beside their values."""


def picture_of(side: Side, number: int) -> Tensor:
    """Return one image [c, h, w]."""
    images, _ = side.images.block(number // BLOCK * BLOCK)
    return images[number % BLOCK].cpu()
