"""The verb `film --walk`: a way through the latent space that ends where it began."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from PIL import Image

from ganlab.classes import named
from ganlab.commands.sample import numbers_in, written
from ganlab.engine.game import Game
from ganlab.experiment.load import load
from ganlab.latents import codes
from ganlab.latents.codes import Code
from ganlab.latents.file import read
from ganlab.latents.walks import closed
from ganlab.pictures.films import LARGEST, TICK, refuse_format, write_film
from ganlab.pictures.grids import grid
from ganlab.progress import Progress
from ganlab.types import UserError

SIDE = 512
"""Small sheets are enlarged by a whole factor up to this many px a side."""


def walk(
    run: Path,
    keys: str,
    *,
    seed: int,
    labels: Sequence[str] | None,
    truncation: float | None,
    seconds: float,
    out: Path | None,
    trust: Sequence[str],
) -> tuple[Path, str]:
    """Write a film of the images between some, from each to the next and back to the first.

    Args:
        run: a run's folder, or an exported one.
        keys: numbers of images of the seed, or a `latents.json`.
        seed: of the images.
        labels: classes that walk side by side; None takes the images' own, which change halfway between two.
        truncation: of the images, as the model takes it; None for none, or that of `latents.json`.
        seconds: from one image to the next.
        out: the film; None is `walk.webp` in the run's folder.
        trust: see `load`.

    Returns its path, and what it shows.
    """
    out = out or run / "walk.webp"
    refuse_format(out)
    model = load(run, trust)
    if model.image.is_point:
        raise UserError(f"{run}: makes points; `ganlab film {run} --timelapse` shows where they went")
    found, remark = stations(model, keys, seed, truncation)
    rows = [[code] for code in found] if labels is None else codes.in_classes(found, labels, model)
    steps = max(round(seconds * 1000 / TICK), 1)
    with written(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_film(frames(model, rows, steps), [1] * (len(rows) * steps), out)
    columns, names = columns_of(len(rows[0])), [named(code.label, model.image.class_names) for code in rows[0]]
    shown = f"{len(rows)} images, {seconds:g} s from each to the next and back to the first"
    classes = f"; classes, {columns} in a row: {', '.join(names)}" if labels else ""
    return out, "\n".join(filter(None, [remark, shown + classes]))


def stations(model: Game, keys: str, seed: int, truncation: float | None) -> tuple[list[Code], str | None]:
    """Return the codes that a walk visits, and a remark on them."""
    if not keys.endswith(".json"):
        return codes.of_seed(model, numbers_in(keys, "--walk"), seed, truncation=truncation), None
    if truncation is not None:
        raise UserError("--truncation: the images of a latents.json have their own; leave it out")
    return read(Path(keys), model)


def frames(model: Game, rows: Sequence[Sequence[Code]], steps: int) -> Iterator[Image.Image]:
    """Make the frames of a walk along rows of codes [keys, columns], whose images stand beside each other."""
    columns = len(rows[0])
    images = codes.images_of(ways(model, rows, steps), model)
    total = len(rows) * steps
    with Progress("walking", total, unit="frames") as progress:
        for _ in range(total):
            yield fitted(grid(torch.cat([*islice(images, columns)]), columns_of(columns)))
            progress.update(1)


def ways(model: Game, rows: Sequence[Sequence[Code]], steps: int) -> Iterator[Code]:
    """Return the codes of all frames: latents on arcs from row to row; the nearer row's classes and truncations."""
    every = codes.alike(model, [code for row in rows for code in row])
    keys = every.unflatten(0, (len(rows), -1))  # rows columns latent, or with layers before it
    for number, latents in enumerate(closed(keys, steps)):
        nearer = rows[(2 * number + steps) // (2 * steps) % len(rows)]
        for each, code in zip(latents, nearer, strict=True):
            yield Code(each, code.label, code.truncation)


def columns_of(count: int) -> int:
    """Return the columns of a sheet of images that is about as wide as high, or up to twice, with the fewest gaps."""
    side = math.isqrt(count - 1) + 1
    return min(range(side, 2 * side), key=lambda columns: -count % columns)


def fitted(sheet: Image.Image) -> Image.Image:
    """Enlarge a small sheet by a whole factor, and shrink a large one."""
    sheet = sheet.convert("RGB")
    if (factor := SIDE // max(sheet.size)) > 1:
        return sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.NEAREST)
    sheet.thumbnail((LARGEST, LARGEST))
    return sheet
