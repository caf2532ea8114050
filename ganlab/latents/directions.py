"""Directions in the latent space that change an image most: SeFa (Shen & Zhou 2021)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ganlab.engine.game import Game

COUNT = 8
"""Directions that are found, at most."""


@torch.no_grad()
def directions(model: Game, count: int = COUNT) -> Tensor:
    """Return the first right singular vectors [count, latent] of the layer that sees the latents, strongest first.

    Of unit length, and with a sign: the largest coordinate is positive. None for a generator without such a layer.
    """
    weight = first_weight(model.ema, model.latent, model.classes)
    if weight is None:
        return torch.zeros(0, model.latent)
    vectors = torch.linalg.svd(weight.double(), full_matrices=False).Vh[:count]  # eq. 4: eigenvectors of W'W
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    found: Tensor = vectors * largest.sign()
    return found.to(model.real_dtype).cpu()


def first_weight(network: nn.Module, latent: int, classes: int) -> Tensor | None:
    """Return the weight [outputs, latent] of the first layer that sees latents; columns of classes are left out.

    Of a layer that sees only the first part of the latents, the columns of the others are 0.
    """
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            weight = layer.weight.transpose(0, 1)
        elif isinstance(layer, nn.Linear) and layer.in_features != classes:  # no embedding of classes
            weight = layer.weight
        elif isinstance(layer, nn.Conv2d):
            return None
        else:
            continue
        matrix = weight.movedim(1, -1).flatten(0, -2)[:, :latent]  # outputs inputs
        return pad(matrix, (0, latent - matrix.shape[1]))
    return None
