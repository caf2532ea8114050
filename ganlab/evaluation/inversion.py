"""Inversion: latents from which a generator makes given images."""

import math
import time
from collections.abc import Callable

import torch
from torch.nn.functional import avg_pool2d

from ganlab.engine.game import Game
from ganlab.seeding import Noise
from ganlab.types import Images, Labels, Latents, PerSample

RATE = 0.1
"""Adam's rate, with a warm-up over the first twentieth of the steps and a cosine's fall over the last quarter."""
COARSEST = 3
"""Halvings of the images that are compared, besides themselves."""


def invert(
    model: Game,
    images: Images,
    labels: Labels,
    *,
    steps: int = 300,
    starts: int = 4,
    seed: int = 0,
    seconds: float = math.inf,
    after_step: Callable[[int], object] = lambda step: None,
) -> tuple[Latents, Labels]:
    """Search for latents whose images by the averaged generator are like given ones; return the best of each image.

    Adam moves several latents of each image at once (Karras et al. 2020, appendix D, has its rate; the distance there
    is a network's). An encoder, if the model has one, gives the first start; others are drawn.

    Args:
        model: a game that makes images of latents.
        images: [n, c, h, w] in [-1, 1], of the model's size.
        labels: classes [n]; where they are -1, a conditional model tries a random one with each start.
        steps: of Adam.
        starts: latents that are tried for each image.
        seed: of the starts.
        seconds: the search takes no longer, with fewer steps if it must.
        after_step: called with the number of steps made since, 1.

    Returns latents [n, model.latent] and their classes [n].
    """
    n = len(images)
    latents, classes = model.draw_latents(starts * n, Noise(seed, 0, dtype=model.real_dtype), "invert")
    latents, classes = latents.to(model.device), classes.to(model.device)
    if model.classes:
        given = labels.to(model.device).repeat(starts)
        classes = torch.where(given < 0, classes, given)
    if "encoder" in model.average_names:
        latents[:n] = model.encode(images)
    wanted = images.to(model.device, model.real_dtype).repeat(starts, 1, 1, 1)
    latents.requires_grad_()
    adam = torch.optim.Adam([latents], lr=RATE)
    begun = time.monotonic()
    for step in range(steps):
        if (share := max(step / steps, (time.monotonic() - begun) / seconds)) >= 1:
            break
        adam.param_groups[0]["lr"] = RATE * ramp(share)
        found = distance(model.averaged(latents, classes), wanted)
        (latents.grad,) = torch.autograd.grad(found.sum(), latents)
        adam.step()
        after_step(1)
    with torch.no_grad():
        best = distance(model.averaged(latents, classes), wanted).view(starts, n).argmin(0)
    at = best * n + torch.arange(n, device=best.device)
    return latents.detach()[at], classes[at]


def ramp(share: float) -> float:
    """Return the factor on the rate when a share of the steps is made."""
    return min(1.0, share / 0.05 + 0.05) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - share) / 0.25)))


def distance(made: Images, images: Images) -> PerSample:
    """Return the mean absolute difference of each pair [n], summed over the images' size and its halves."""
    total = torch.zeros(len(images), dtype=images.dtype, device=images.device)
    for level in range(COARSEST + 1):
        total = total + (made - images).abs().flatten(1).mean(1)
        if level == COARSEST or min(images.shape[2:]) < 2:
            break
        made, images = avg_pool2d(made, 2), avg_pool2d(images, 2)
    return total
