"""A description of a toy: what it is, its keys, and a picture."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.data.read.toys import ToyDataset
from ganlab.pictures.densities import densities
from ganlab.pictures.points import scatter
from ganlab.pictures.tiles import save_png, tile

LOOKED_AT, COLUMNS = 4096, 8
"""Number of samples for mean and deviation, and images in a row of the picture, with as many rows."""


def describe_toy(url: str, sheet: Path) -> Iterator[str]:
    """Describe a toy line by line, and draw some of its samples at `sheet`; points in their own units."""
    dataset = ToyDataset(url)
    toy, image = dataset.toy, dataset.image
    drawn = dataset.places(np.arange(min(LOOKED_AT, len(dataset))), image.height)
    scale = getattr(toy, "extent", 1.0) if image.is_point else 1.0
    samples = np.stack([place.pixels for place in drawn]).astype(np.float64) * scale  # n h w c
    drawing = picture(samples, scale, url) if image.is_point else tile(samples[: COLUMNS**2].astype(np.uint8), COLUMNS)
    save_png(drawing, sheet)
    yield f"{url}: {len(dataset):,} images, {image}"
    yield f"{(type(toy).__doc__ or '').splitlines()[0]}"
    yield "keys: " + ", ".join(f"{field.name}={getattr(toy, field.name)}" for field in fields(toy))
    moments = samples.mean((0, 1, 2)), samples.std((0, 1, 2))
    mean, deviation = (" ".join(f"{value:.3g}" for value in found.tolist()) for found in moments)
    yield f"mean {mean}, deviation {deviation}, by channel, of {len(samples):,} images"
    yield f"contact sheet: {sheet}"


def picture(points: NDArray[np.float64], extent: float, title: str) -> Image.Image:
    """Draw points [n, 1, 1, coordinates] by their density, or by their first two coordinates."""
    values = points[:, 0, 0]
    if values.shape[1] == 1:
        return densities(values[:, 0], values[:0, 0], extent=extent, title=title)
    return scatter(values[:, :2], values[:0, :2], extent=extent, title=title)
