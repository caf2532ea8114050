"""LAPGAN: Denton et al. 2015, "Deep generative image models using a Laplacian pyramid of adversarial networks"."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.layers.pyramid import at_height, doubled
from ganlab.networks import lapgan
from ganlab.priors import Uniform
from ganlab.schedules import Linear, Schedule
from ganlab.seeding import Noise
from ganlab.types import Images, ImageSpec, Labels, Latents


class LAPGAN(Game):
    """A game for each level of a pyramid of images: the smallest one, then the detail that each larger one lacks.

    The games are independent: a level's coarse image is that of a real one. Only sampling chains them. Sizes are halved
    by means of 2x2 pixels and doubled linearly; detail is the rest, so a pyramid gives its image back exactly. Fakes
    have the classes of the reals. Deviations: the averages; a constant learning rate, where the authors' falls by 2 %
    in 500 epochs; images in [-1, 1], where theirs are normalised by channel.

    Args:
        smallest: height of the smallest images, px: 8 in the authors' code, with levels of 16 and 32 px.
        width: channels of the convolutions.
        first_generator_width, first_discriminator_width: hidden units of the smallest level's networks.
        conditional: both networks of each level are given the class.
        momentum: of SGD: 0.0008 more in each epoch of 45,000 images.
        optimizer: None is the paper's SGD.
    """

    BATCH = 64
    REPLACES: ClassVar[Mapping[str, tuple[str, ...]]] = {"optimizer": ("lr", "momentum")}
    RECORDS = ("loss", "real_logit", "fake_logit")

    def __init__(
        self,
        *,
        image: ImageSpec,
        smallest: int = 8,
        width: int = 64,
        first_generator_width: int = 8000,
        first_discriminator_width: int = 1600,
        latent: int = 100,
        conditional: bool = False,
        lr: float = 0.02,
        momentum: float | Schedule = Linear(start=0.0, end=0.7, until_nimg=39_375_000),
        optimizer: MakeOptimizer | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.levels = lapgan.levels_of(image, smallest)
        first_widths = first_generator_width, first_discriminator_width
        networks = lapgan.networks_of(self.levels, width, first_widths, latent, conditional)
        self.latents = [int(networks[f"generator_{level.height}"].latent) for level in self.levels]  # type: ignore[arg-type]
        self.prior = Uniform(dims=sum(self.latents))
        descent: MakeOptimizer = partial(SGD, lr=lr, momentum=momentum)  # type: ignore[arg-type]  # may be scheduled
        names = [f"{kind}_{level.height}" for level in self.levels for kind in ("discriminator", "generator")]
        for name in names:
            kind, _, height = name.partition("_")
            setattr(self, f"{name}_loss", partial(getattr(self, f"{kind}_loss"), int(height)))
        super().__init__(
            image=image,
            networks=networks,
            players={name: Player(name, optimizer=optimizer or descent) for name in names},
            averages={name: HalfLife(ema_half_life) for name in names if name.startswith("generator")},
            runtime=runtime,
        )

    def discriminator_loss(self, height: int, batch: Batch) -> Loss:
        """Eq. 1 at one level; the discriminator sees images, not details."""
        real = at_height(batch.real, height)
        with torch.no_grad():
            fake = self.made(height, batch)
        real, fake = self.score(height, real, batch, "real"), self.score(height, fake, batch, "fake")
        return {"loss": F.softplus(-real) + F.softplus(fake)}, {"real_logit": real, "fake_logit": fake}

    def generator_loss(self, height: int, batch: Batch) -> Loss:
        """-log D(G(z)), or -log D(G(z, u(coarse)) + u(coarse))."""
        return {"loss": F.softplus(-self.score(height, self.made(height, batch), batch, "fake"))}

    def made(self, height: int, batch: Batch) -> Tensor:
        """Return a level's images: of noise alone, or of noise and a coarse real image."""
        generator = getattr(self, f"generator_{height}")
        if height == self.levels[0].height:
            return self.call(generator, batch.latents, batch.labels)  # type: ignore[no-any-return]
        coarse = doubled(at_height(batch.real, height // 2))
        return coarse + self.call(generator, batch.latents, coarse, batch.labels)  # type: ignore[no-any-return]

    def score(self, height: int, images: Tensor, batch: Batch, kind: str) -> Tensor:
        """Run a level's discriminator, with the dropout drawn for "real" or "fake"."""
        return self.call(getattr(self, f"discriminator_{height}"), images, batch.labels, batch[f"{kind} dropout"])  # type: ignore[no-any-return]

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the latents of the level, uniform in [-1, 1), and the dropout of its discriminator."""
        kind, _, height = player.partition("_")
        latent, features = getattr(self, f"generator_{height}").latent, getattr(self, f"discriminator_{height}").dropped
        passes = ("fake",) if kind == "generator" else ("real", "fake")
        found = {f"{of} dropout": noise.uniform(f"{player} {of} dropout", n, features) for of in passes}
        return {**found, "latents": Uniform(dims=latent).draw(f"{player} latents", n, noise)}

    def averaged(self, latents: Latents, labels: Labels) -> Images:
        """Chain the averaged generators: each adds detail to the doubled image of the one before."""
        first, *others = latents.split(self.latents, 1)
        images = self.ema(first, labels)
        for generator, noise in zip(self.averaged_networks[1:], others, strict=True):
            coarse = doubled(images)
            images = coarse + generator(noise, coarse, labels)
        return images  # type: ignore[no-any-return]
