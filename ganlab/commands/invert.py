"""The verb `invert`: the latents of given images, and what the generator makes of them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save

from ganlab.commands.sample import COLUMNS, read_images, save_each, save_sheet, written
from ganlab.evaluation import inversion
from ganlab.experiment.load import load
from ganlab.files import atomic_write
from ganlab.metrics.reconstruction import psnr
from ganlab.pictures.grids import grid_by_title, to_uint8
from ganlab.progress import Progress
from ganlab.types import UserError

BLOCK = 16
"""Images that are searched for at once."""


def invert(
    run: Path,
    place: str,
    numbers: Sequence[int],
    *,
    out: Path,
    steps: int,
    starts: int,
    seed: int,
    trust: Sequence[str],
) -> str:
    """Write what a run's generator makes of the latents found for images: `inverted.png` beside the images, and PNGs.

    `latents.safetensors` holds the latents [n, latent] and their classes [n]. Returns how near the images are.
    """
    model = load(run, trust)
    if not model.latent:
        raise UserError(f"{run}: a {type(model).__name__} makes no images of latents")
    _, numbers, pixels, labels = read_images(model, run, "IMAGES", place, numbers, trust)
    images = model.as_floats(pixels)
    with written(out):  # the search takes minutes
        out.mkdir(parents=True, exist_ok=True)
    blocks = list(zip(images.split(BLOCK), labels.split(BLOCK), strict=True))
    with Progress("inverting", steps * len(blocks), unit="steps") as progress:
        search = partial(inversion.invert, model, steps=steps, starts=starts, seed=seed, after_step=progress.update)
        found = [search(*block) for block in blocks]
    latents, classes = (torch.cat(parts) for parts in zip(*found, strict=True))
    with torch.no_grad():
        made = torch.cat(
            [model.averaged(*part) for part in zip(latents.split(BLOCK), classes.split(BLOCK), strict=True)]
        )
    near = [psnr(a[None], b[None]) for a, b in zip(made, images, strict=True)]
    save_each(to_uint8(made), numbers, out)
    with written(out), atomic_write(out / "latents.safetensors") as file:
        file.write(save({"latents": latents.contiguous(), "classes": classes.contiguous()}))
    save_sheet(grid_by_title({"input": pixels, "inverted": to_uint8(made)}, COLUMNS), out / "inverted.png")
    return f"{len(near)} images, median PSNR {median(near):.1f} dB (from {min(near):.1f} to {max(near):.1f})"
