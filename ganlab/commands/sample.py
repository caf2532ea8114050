"""The verb `sample`: images from a run, finished or not."""

from collections.abc import Sequence
from pathlib import Path

from ganlab.experiment.load import load
from ganlab.pictures.grids import grid, grid_by_class, to_pil
from ganlab.pictures.tiles import save_png
from ganlab.types import UserError

COLUMNS = 8


def sample(
    run: Path, n: int, *, seed: int, out: Path | None, each: bool, labels: Sequence[int] | None, trust: Sequence[str]
) -> Path:
    """Write a grid of `n` samples, one row per label, or with `each` a folder of PNGs; return its path."""
    model = load(run, trust)
    out = out or run / (f"samples-seed-{seed}" if each else f"samples-seed-{seed}.png")
    images = model.sample(n, seed, labels)
    try:
        if each:
            out.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(images):
                save_png(to_pil(image), out / f"{number:06d}.png")
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            rows = len(labels or ())
            save_png(grid_by_class(images, rows) if rows > 1 else grid(images, COLUMNS), out)
    except OSError as error:
        raise UserError(f"{out}: cannot write there: {error.strerror}; choose another place with --out") from None
    return out
