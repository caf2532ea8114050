"""What a picture of points shows: reals, fakes, and what a discriminator says between them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganlab.engine.game import Game
from ganlab.evaluation.fields import judges, scores
from ganlab.evaluation.images import BLOCK, Points
from ganlab.pictures import densities, points
from ganlab.seeding import SAMPLE_BATCH

FAKES = 40 * SAMPLE_BATCH
"""Number of fakes, and largest number of reals."""


def picture_of_points(model: Game, reals: Points, seed: int) -> Callable[[], Image.Image]:
    """Compute a picture of points of one coordinate, or of the first two, in their own units; return what draws it."""
    fakes = [model.synthesize(start, seed, "sample")[0] for start in range(0, FAKES, SAMPLE_BATCH)]
    company = torch.cat([reals.block(start)[0] for start in range(0, min(FAKES, len(reals)), BLOCK)])
    real, fake = (each.flatten(1).cpu().numpy() * reals.extent for each in (company, torch.cat(fakes)))
    about, dims = f"{reals.name}, {model.clock.nimg:,} reals shown", real.shape[1]
    if dims == 1:
        curve = judged(model, densities.where(1.0)[:, None], company)
        return partial(densities.densities, real[:, 0], fake[:, 0], curve, extent=reals.extent, title=about)
    values = judged(model, points.where(1.0), company) if dims == 2 else None
    return partial(points.scatter, real[:, :2], fake[:, :2], values, extent=reals.extent, title=about)


@torch.no_grad()
def judged(model: Game, places: NDArray[Any], company: Tensor) -> NDArray[Any] | None:
    """Return what a discriminator says of points [n, d], divided by the extent; None if the game has none.

    Each is judged in a group with the same reals, the first of `company`: see `scores`.
    """
    if not judges(model):
        return None
    points, company = (
        each.to(model.device, model.real_dtype)
        for each in (torch.from_numpy(places)[:, :, None, None], company[: model.runtime.group - 1])
    )
    with model.whole():
        found = scores(model, points, torch.zeros(len(points), dtype=torch.int64, device=model.device), company)
    return found.cpu().numpy()
