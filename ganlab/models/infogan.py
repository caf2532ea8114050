"""InfoGAN: Chen et al. 2016, "Interpretable representation learning by information maximizing GANs"."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.networks import infogan
from ganlab.priors import Coded
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels, Latents


class InfoGAN(Game):
    """Both players raise a lower bound on the information that an image has about its code; the values are for MNIST.

    A latent is noise, a category (one-hot) and continuous codes. The discriminator's second head guesses the code of
    fakes only; of a continuous code it guesses the mean of a Gaussian of variance 1. A deviation: the average is ours.

    Args:
        noise, categories, continuous: dimensions of the noise, number of categories, and of continuous codes.
        weight: of the bound, lambda.
        width: channels next to the image.
        discriminator_lr, generator_lr, betas: Adam's.
        batch_norm_group: consecutive images per batch norm, None for the batch of all processes.
        image, ema_half_life, runtime: see `GANModule`.
    """

    BATCH = 128
    RECORDS = ("loss", "code", "information")
    generator: nn.Module
    discriminator: nn.Module
    prior: Coded

    def __init__(
        self,
        *,
        image: ImageSpec,
        noise: int = 62,
        categories: int = 10,
        continuous: int = 2,
        weight: float = 1.0,
        width: int = 64,
        discriminator_lr: float = 2e-4,
        generator_lr: float = 1e-3,
        betas: tuple[float, float] = (0.5, 0.999),
        batch_norm_group: int | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.prior = Coded(noise=noise, categories=categories, continuous=continuous)
        guesses = categories + 2 * continuous  # means and, not in use, the log-variances that the paper holds at 0
        kind: dict[str, Any] = {"image": image, "width": width, "norm_group": batch_norm_group}
        adam = partial(Adam, betas=betas)
        super().__init__(
            image=image,
            networks={
                "generator": infogan.Generator(latent=self.prior.dims, **kind),
                "discriminator": infogan.Discriminator(guesses=guesses, **kind),
            },
            players={
                "discriminator": Player("discriminator", optimizer=partial(adam, lr=discriminator_lr)),
                "generator": Player("generator", optimizer=partial(adam, lr=generator_lr), reals=False),
            },
            averages={"generator": HalfLife(ema_half_life)},
            runtime=runtime,
        )
        self.weight, self.columns = weight, categories

    def discriminator_loss(self, batch: Batch) -> Loss:
        """Eq. 6: -log D(x) - log(1 - D(G(z, c))) - lambda L_I(c; G)."""
        with torch.no_grad():
            fake = self.call(self.generator, batch.latents, batch.fake_labels)
        real, _ = self.call(self.discriminator, batch.real)
        logits, guesses = self.call(self.discriminator, fake)
        code, found = self.code_loss(batch.latents, guesses)
        return {"loss": softplus(-real) + softplus(logits), "code": code}, found

    def generator_loss(self, batch: Batch) -> Loss:
        """Eq. 6, non-saturating: -log D(G(z, c)) - lambda L_I(c; G)."""
        fake = self.call(self.generator, batch.latents, batch.fake_labels)
        logits, guesses = self.call(self.discriminator, fake)
        code, found = self.code_loss(batch.latents, guesses)
        return {"loss": softplus(-logits), "code": code}, found

    def code_loss(self, latents: Latents, guesses: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """-lambda E log Q(c|x), up to a constant [n] (eq. 5); and the bound for the category alone, in nats [n]."""
        prior = self.prior
        _, category, code = latents.split(prior.widths, 1)
        logits, means, _ = guesses.split((prior.categories, prior.continuous, prior.continuous), 1)
        surprise = cross_entropy(logits, category, reduction="none")
        error = (code - means).square().sum(1) / 2
        return self.weight * (surprise + error), {"information": math.log(prior.categories) - surprise}

    def draw_latents(self, n: int, noise: Noise, name: str) -> tuple[Latents, Labels]:
        """Draw noise and codes; for a grid of samples, in rows."""
        latents = (self.prior.rows if name == "sample" else self.prior.draw)(name, n, noise)
        return latents, torch.full((n,), -1, device=latents.device)
