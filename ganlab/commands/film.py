"""The verb `film --timelapse`: the pictures of a run, one after the other, without torch."""

from pathlib import Path

from ganlab.pictures.films import refuse_format, write_timelapse
from ganlab.types import UserError

TIMELAPSE = "timelapse.webp"


def timelapse(run: Path, out: Path | None) -> tuple[Path, str]:
    """Write a film of the pictures that a run has written so far; return its path, and what it shows."""
    out = out or run / TIMELAPSE
    refuse_format(out)
    if not run.is_dir():
        raise UserError(f"{run}: no such folder; give the folder of a run, such as runs/digits-dcgan")
    pictures = sorted((run / "samples").glob("nimg-*.png"))
    if not pictures:
        when = "the first comes after a minute of training, the others every train.sample_every_nimg images"
        raise UserError(f"{run}: has no pictures yet; {when}")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_timelapse(pictures, out)
    return out, f"{len(pictures)} pictures, up to {int(pictures[-1].stem.removeprefix('nimg-')):,} images"
