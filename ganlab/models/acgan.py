"""AC-GAN: Odena et al. 2017, "Conditional image synthesis with auxiliary classifier GANs"."""

from functools import partial
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy, softplus
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.networks import dcgan
from ganlab.networks.conditioning import learned_classes
from ganlab.schedules import Schedule
from ganlab.types import ImageSpec


class ACGAN(Game):
    """The discriminator also guesses the class of reals and fakes; both players raise its log-likelihood.

    Reals without a class teach it nothing of classes. The optimizer and the latent are the paper's. The networks are
    DCGAN's, without the paper's dropout and activation noise, and the average is ours.

    Args:
        width: channels next to the image.
        latent: dimensions of the latent.
        lr, betas: Adam's, for both players.
        batch_norm_group: consecutive images per batch norm, None for the batch of all processes.
        image, ema_half_life, runtime: see `GANModule`.
    """

    BATCH = 100
    LEARNS_CLASSES: ClassVar[tuple[str, ...]] = ("real",)
    RECORDS = ("loss", "class", "real_logit", "fake_logit")
    generator: nn.Module
    discriminator: nn.Module

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        latent: int = 110,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        batch_norm_group: int | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        learned_classes(image)
        adam = partial(Adam, lr=lr, betas=betas)
        super().__init__(
            image=image,
            networks={
                "generator": dcgan.Generator(
                    image=image, width=width, latent=latent, conditional=True, norm_group=batch_norm_group
                ),
                "discriminator": dcgan.ClassifyingDiscriminator(image=image, width=width, norm_group=batch_norm_group),
            },
            players={
                "discriminator": Player("discriminator", optimizer=adam),
                "generator": Player("generator", optimizer=adam, reals=False),
            },
            averages={"generator": HalfLife(ema_half_life)},
            runtime=runtime,
        )

    def discriminator_loss(self, batch: Batch) -> Loss:
        """-(L_S + L_C), eq. 2 and 3: the source and the class, of reals and of fakes."""
        with torch.no_grad():
            fake = self.call(self.generator, batch.latents, batch.fake_labels)
        real, real_classes = self.call(self.discriminator, batch.real)
        logits, fake_classes = self.call(self.discriminator, fake)
        classes = cross_entropy(real_classes, batch.labels, reduction="none", ignore_index=-1)
        classes = classes + cross_entropy(fake_classes, batch.fake_labels, reduction="none")
        return {"loss": softplus(-real) + softplus(logits), "class": classes}, {
            "real_logit": real,
            "fake_logit": logits,
        }

    def generator_loss(self, batch: Batch) -> Loss:
        """L_S - L_C of fakes, non-saturating."""
        logits, classes = self.call(self.discriminator, self.call(self.generator, batch.latents, batch.fake_labels))
        return {"loss": softplus(-logits), "class": cross_entropy(classes, batch.fake_labels, reduction="none")}
