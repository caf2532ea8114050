"""What a discriminator says near generated images: its gradient on their pixels, its scores on a plane of latents."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ganlab.engine.game import Game
from ganlab.seeding import SAMPLE_BATCH
from ganlab.types import Images, Labels, Logits

SIDE = 17
"""Latents a side of a plane."""


def judges(model: Game) -> bool:
    """Tell whether a network of a game scores images."""
    return type(model).scores_of is not Game.scores_of


def scores(model: Game, images: Images, labels: Labels, company: Tensor) -> Logits:
    """Return D's scores of images [n], each in a group with the same others, since a layer may couple groups.

    Of scores of patches the mean is taken.

    Args:
        model: a game that `judges`.
        images: [n, c, h, w] in [-1, 1], of the full size; a growing game sees them at its size.
        labels: their classes [n]; -1 is taken for 0.
        company: [group - 1, c, h, w].
    """
    n, group = len(images), len(company) + 1
    whole = torch.cat([images[:, None], company.expand(n, -1, -1, -1, -1)], 1).flatten(0, 1)
    factor = images.shape[2] // model.plan(model.clock.nimg).image.height
    classes = labels.clamp(min=0).repeat_interleave(group)
    found = model.scores_of(avg_pool2d(whole, factor) if factor > 1 else whole, classes)
    assert found is not None, type(model)
    return found[::group].flatten(1).mean(1) if found.ndim > 1 else found[::group]


def pixel_gradients(model: Game, images: Images, labels: Labels, company: Tensor) -> Images:
    """Return dD(x)/dx of images x [n, c, h, w]: where D would have each pixel lighter or darker."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(scores(model, images, labels, company).sum(), images)
    return found


@torch.no_grad()
def on_plane(
    model: Game, make: Callable[[Tensor], Tensor], label: int, company: Tensor, extent: float
) -> NDArray[np.floating]:
    """Return D's scores [SIDE, SIDE] of the images at places (x, y), both from -extent to extent, row by row of y.

    Args:
        model: a game that `judges`.
        make: images [n, c, h, w] of places [n, 2].
        label: their class.
        company: see `scores`.
        extent: of the plane.
    """
    line = torch.linspace(-extent, extent, SIDE)
    y, x = torch.meshgrid(line, line, indexing="ij")
    found = list[Tensor]()
    for places in torch.stack([x.flatten(), y.flatten()], 1).split(SAMPLE_BATCH):
        labels = torch.full((len(places),), label, device=model.device)
        found.append(scores(model, make(places), labels, company))
    return torch.cat(found).view(SIDE, SIDE).cpu().double().numpy()
