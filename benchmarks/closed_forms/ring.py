"""The ring of eight Gaussians (Metz et al. 2017): K = 0 hops between modes, and K = 5 covers them, on eight seeds.

The eight games are one: their weights have a leading dimension, their losses are summed, and Adam moves every weight by
its own gradient. The settings are those of `configs/toy/ring.yaml`: radius 2 and deviation 0.02, seen at a quarter of
their size, and weights that begin orthogonal, as in the paper; smaller networks and batches, and larger steps, so that
1,800 rounds are enough.
"""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from rows import Row
from torch import Tensor, nn
from torch.optim import Adam

from ganlab.data.read.toys import ToyDataset
from ganlab.engine.dynamics import Unrolled
from ganlab.engine.runtime import Runtime
from ganlab.models import GANModule
from ganlab.networks.points import initialize
from ganlab.objectives import NonSaturating
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec

SEEDS, LATENT, WIDTH, BATCH, ROUNDS = 8, 16, 64, 128, 1_800
MODES, RADIUS, EXTENT = 8, 2.0, 4.0
"""EXTENT: what 1 is in the toy's images."""
NEAR, SHARE = 0.4, 0.01
"""A mode is covered if more than this share of the samples lies so near to it."""


class Networks(nn.Module):
    """One network for each seed: [n, seeds, inputs] to [n, seeds, outputs], with ReLU between the layers."""

    latent, classes = SEEDS * LATENT, 0

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers = [nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths)) for _ in range(SEEDS)]
        for one in layers:
            initialize(one)
        by_layer = list(zip(*layers, strict=True))
        self.weights = nn.ParameterList(torch.stack([each.weight.detach().T for each in same]) for same in by_layer)
        self.biases = nn.ParameterList(torch.stack([each.bias.detach() for each in same]) for same in by_layer)

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        values = points.flatten(1).unflatten(1, (SEEDS, -1)).transpose(0, 1)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias[:, None], values.relu() if number else values, weight)
        return values.transpose(0, 1)


class Summed(NonSaturating):
    """The sum of the games' losses."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """[n, seeds, 1] each to [n]."""
        total: Tensor = super().discriminator(real, fake).sum((1, 2))
        return total


def games(steps: int, seed: int) -> GANModule:
    seed_everything(seed)
    adam = partial(Adam, lr=1e-3, betas=(0.5, 0.999))
    module = GANModule(
        image=ImageSpec(1, 1, 2 * SEEDS),
        generator=Networks(LATENT, WIDTH, WIDTH, 2),
        discriminator=Networks(2, WIDTH, 1),
        objective=Summed(),
        optimizers={"generator": adam, "discriminator": adam},
        dynamics=Unrolled(steps=steps),
        runtime=Runtime(seed=seed, group=BATCH),
    )
    module.configure_optimizers()
    return module


def covered(module: GANModule) -> tuple[Tensor, Tensor]:
    """Modes that each game covers [seeds], and the share of its samples that are near to one [seeds]."""
    noise = module.noise(0)
    with torch.no_grad():
        latents = noise.normal("judged", 16 * BATCH, module.generator.latent)
        made = module.generator(latents, torch.full((len(latents),), -1)).flatten(1).unflatten(1, (SEEDS, 2))
    angle = 2 * torch.pi * torch.arange(MODES) / MODES
    modes = RADIUS * torch.stack([angle.cos(), angle.sin()], 1)
    near = torch.cdist(EXTENT * made, modes.expand(len(made), -1, -1)) < NEAR  # n seeds modes
    shares = near.float().mean(0)
    return (shares > SHARE).sum(1), shares.sum(1)


def played(module: GANModule, seed: int) -> GANModule:
    """Train games whose points follow each other as channels, all on the same reals."""
    data = ToyDataset(f"toy:ring?seed={seed}")
    for number in range(ROUNDS):
        places = data.places(np.arange(number * BATCH, (number + 1) * BATCH), 1)
        points = torch.from_numpy(np.stack([place.pixels for place in places])).permute(0, 3, 1, 2)
        module.training_step((points.repeat(1, SEEDS, 1, 1), torch.full((BATCH,), -1)), number)
    return module


def rows(seed: int) -> Iterator[Row]:
    modes, _ = covered(played(games(0, seed), seed))
    yield Row("ring", "K = 0: most modes of 8 on 8 seeds", modes.max().item(), "at most 3", bool(modes.max() <= 3))
    modes, share = covered(played(games(5, seed), seed))
    yield Row("ring", "K = 5: fewest modes of 8 on 8 seeds", modes.min().item(), "8", bool(modes.min() == MODES))
    yield Row("ring", "K = 5: least share near to a mode", share.min().item(), "more than 0.5", bool(share.min() > 0.5))
