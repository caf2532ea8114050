"""The verb `sample`: images from a run, finished or not."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from ganlab.classes import named, numbers_of
from ganlab.engine.game import Game
from ganlab.experiment.load import load
from ganlab.pictures.captions import captions_of
from ganlab.pictures.grids import grid, grid_by_class, to_pil
from ganlab.pictures.tiles import save_png
from ganlab.types import UserError

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
) -> tuple[Path, str]:
    """Write images of a seed as one grid, or with `each` as a folder of PNGs; return its path, and which is where."""
    model = load(run, trust)
    out = out or run / (f"samples-seed-{seed}" if each else f"samples-seed-{seed}.png")
    images = model.sample(numbers, seed, labels)
    try:
        if each:
            out.mkdir(parents=True, exist_ok=True)
            for number, image in zip(numbers, images, strict=True):
                save_png(to_pil(image), out / f"{number:06d}.png")
            return out, f"of seed {seed}: images {text_of(numbers)}, each in a file of its number"
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet, where = drawn(images, numbers, labels or (), model)
        save_png(sheet, out)
    except OSError as error:
        raise UserError(f"{out}: cannot write there: {error.strerror}; choose another place with --out") from None
    return out, f"of seed {seed}: {where}"


def drawn(images: Tensor, numbers: Sequence[int], labels: Sequence[int | str], model: Game) -> tuple[Image.Image, str]:
    """Draw a grid, one row per label where the first images are asked for; return it, and which image is where."""
    rows = len(labels)
    if rows > 1 and numbers == range(len(numbers)):
        classes = numbers_of(labels, model.image)
        names = ", ".join(named(number, model.image.class_names) for number in classes)
        sheet = grid_by_class(images, rows, captions_of(model.image.class_names, classes))
        return sheet, f"row r, column c, counted from 0, is image r + {rows}c; rows: {names}"
    columns = model.columns or COLUMNS
    return grid(images, columns), f"images {text_of(numbers)}, row by row, {min(columns, len(numbers))} in each"


def numbers_in(text: str) -> list[int]:
    """Read numbers of images, such as 37,40-45; UserError for other text."""
    found = list[int]()
    for part in text.split(","):
        first, to, last = (word.strip() for word in part.partition("-"))
        if not (first.isdecimal() and (last.isdecimal() or not to)) or not int(first) <= int(last or first) < LARGEST:
            raise UserError(f"--images: {text!r}: write numbers and ranges with commas between them, such as 37,40-45")
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
