"""The verb `sample`: images from a run, finished or not; of a seed, or of real images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganlab.classes import named, numbers_of
from ganlab.commands.evaluate import config_of
from ganlab.engine.game import Game
from ganlab.engine.samples import told
from ganlab.evaluation.images import Decoded, open_images
from ganlab.experiment.load import load
from ganlab.latents.codes import pixels_of
from ganlab.latents.file import read
from ganlab.pictures.captions import captions_of
from ganlab.pictures.grids import grid, grid_by_class, grid_by_title, to_pil
from ganlab.pictures.tiles import save_png
from ganlab.progress import Progress
from ganlab.seeding import SAMPLE_BATCH
from ganlab.types import ImageSpec, Labels, Pixels, UserError, px

COLUMNS = 8
LARGEST = 10**9
"""Numbers of images that --images may name lie below."""


def sample(
    run: Path,
    numbers: Sequence[int],
    *,
    seed: int,
    out: Path | None,
    each: bool,
    labels: Sequence[str] | None,
    trust: Sequence[str],
    truncation: float | None = None,
    standing: int = 0,
) -> tuple[Path, str]:
    """Write images of a seed as one grid, or with `each` as a folder of PNGs; return its path, and which is where."""
    model = load(run, trust)
    name = f"samples-seed-{seed}" + ("" if truncation is None else f"-truncation-{truncation:g}")
    name += f"-standing-{standing}" if standing else ""
    out = out or run / (name if each else f"{name}.png")
    if standing:
        model.stand(standing, truncation, seed)
    if each:
        with Progress("sampling", len(numbers)) as progress:
            for start in range(0, len(numbers), SAMPLE_BATCH):  # all at once might not fit into memory
                some = numbers[start : start + SAMPLE_BATCH]
                save_each(model.sample(some, seed, labels, truncation), some, out)
                progress.update(len(some))
        return out, f"of seed {seed}: images {text_of(numbers)}, each in a file of its number"
    sheet, where = drawn(model.sample(numbers, seed, labels, truncation), numbers, labels or (), model)
    save_sheet(sheet, out)
    return out, f"of seed {seed}: {where}"


def sample_latents(run: Path, file: Path, *, out: Path | None, each: bool, trust: Sequence[str]) -> tuple[Path, str]:
    """Write the images of a `latents.json` as one grid, or with `each` as a folder of PNGs; return path and remarks."""
    model = load(run, trust)
    found, remark = read(file, model)
    images, numbers = pixels_of(found, model), range(len(found))
    out = out or run / (f"samples-{file.stem}" if each else f"samples-{file.stem}.png")
    if each:
        save_each(images, numbers, out)
    else:
        save_sheet(grid(images, model.columns or COLUMNS), out)
    said = f"of {file}: images {text_of(numbers)}, in its order"
    return out, f"{remark}\n{said}" if remark else said


def remake(
    run: Path, place: str, numbers: Sequence[int], *, other: bool, out: Path | None, each: bool, trust: Sequence[str]
) -> tuple[Path, str]:
    """Write what a run makes of real images: beside them in one grid, or with `each` alone as a folder of PNGs.

    Args:
        place: folder or zip of images, or shards; all of a size that the model takes.
        numbers: of the images there; those past the last one are left out.
        other: the images are of the data's other stream.

    Returns its path, and what is where.
    """
    model = load(run, trust)
    if not model.remakes(other):
        domain = " of data.other" if other else ""
        raise UserError(f"--from: {type(model).__name__} makes nothing of images{domain}; leave it out")
    name, numbers, pixels, labels = read_images(model, run, "--from", place, numbers, trust)
    parts = model.remake(pixels, labels, other=other)
    _, output, *_ = parts
    out = out or run / (f"made-from-{name}" if each else f"made-from-{name}.png")
    if each:
        save_each(parts[output], numbers, out)
        return out, f"of {place}: {output} of images {text_of(numbers)}, each in a file of its number"
    save_sheet(grid_by_title(parts, COLUMNS), out)
    return out, f"of {place}: images {text_of(numbers)}, {min(COLUMNS, len(numbers))} in each row: {', '.join(parts)}"


def read_images(
    model: Game, run: Path, option: str, place: str, numbers: Sequence[int], trust: Sequence[str]
) -> tuple[str, list[int], Pixels, Labels]:
    """Read images by number from a folder, a zip or shards, all of a size that a model takes.

    Returns the name of the place, the numbers that are there, and their pixels and labels.
    """
    images = open_images(place, data=config_of(run, trust).data)
    if not isinstance(images, Decoded):
        raise UserError(f"{option} {place}: points, and a {type(model).__name__} takes images")
    first, _ = images.read(0)
    height, width, channels = first.shape
    if ImageSpec(height, width, channels) not in map(plain, model.inputs):
        wanted = model.inputs[-1]
        raise UserError(
            f"{option} {place}: its images are {told((channels, height, width))}, and this {type(model).__name__} "
            f"takes {model.inputs_in_words}; bring them there with `ganlab data pack {place} DEST --size "
            f"{px(wanted.height, wanted.width)} --channels {wanted.channels}`"
        )
    there = [number for number in numbers if number < len(images)]
    if not there:
        raise UserError(f"--images: {place} has the images 0 to {len(images) - 1:,}")
    read = [images.read(number) for number in there]
    pixels = torch.from_numpy(np.stack([each for each, _ in read])).permute(0, 3, 1, 2)
    return images.name, there, pixels, torch.tensor([label for _, label in read])


def plain(image: ImageSpec) -> ImageSpec:
    """Return a shape without classes."""
    return ImageSpec(image.height, image.width, image.channels)


def save_each(images: Tensor, numbers: Sequence[int], out: Path) -> None:
    """Write each image to a PNG of its number in a folder."""
    with written(out):
        out.mkdir(parents=True, exist_ok=True)
        for number, image in zip(numbers, images, strict=True):
            save_png(to_pil(image), out / f"{number:06d}.png")


def save_sheet(sheet: Image.Image, out: Path) -> None:
    """Write a grid."""
    with written(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        save_png(sheet, out)


@contextmanager
def written(out: Path) -> Iterator[None]:
    """Say what to do if nothing can be written at a place."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{out}: cannot write there: {error.strerror}; choose another place with --out") from None


def drawn(images: Tensor, numbers: Sequence[int], labels: Sequence[int | str], model: Game) -> tuple[Image.Image, str]:
    """Draw a grid, one row per label where the first images are asked for; return it, and which image is where."""
    rows = len(labels)
    if rows > 1 and numbers == range(len(numbers)):
        classes = numbers_of(labels, model.image)
        names = ", ".join(named(number, model.image.class_names) for number in classes)
        sheet = grid_by_class(images, rows, captions_of(model.image.class_names, classes))
        return sheet, f"row r, column c, counted from 0, is image r + {rows}c; rows: {names}"
    columns = model.columns or COLUMNS
    order = "" if model.image.is_point else f", row by row, {min(columns, len(numbers))} in each"
    return grid(images, columns), f"images {text_of(numbers)}{order}"


def numbers_in(text: str, option: str = "--images") -> list[int]:
    """Read numbers of images, such as 37,40-45; UserError for other text."""
    found = list[int]()
    for part in text.split(","):
        first, to, last = (word.strip() for word in part.partition("-"))
        if not (first.isdecimal() and (last.isdecimal() or not to)) or not int(first) <= int(last or first) < LARGEST:
            raise UserError(f"{option}: {text!r}: write numbers and ranges with commas between them, such as 37,40-45")
        found += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(found))


def text_of(numbers: Sequence[int]) -> str:
    """Write numbers as `numbers_in` reads them."""
    runs = list[list[int]]()
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)
