"""Alpha-GAN: Rosca et al. 2017, "Variational approaches for auto-encoding generative adversarial networks"."""

from functools import partial

import torch
from torch import nn
from torch.nn.functional import softplus
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.autoencoding import Autoencoding
from ganlab.networks import alphagan, dcgan
from ganlab.schedules import Schedule
from ganlab.types import Images, ImageSpec, Latents, Logits, PerSample


class AlphaGAN(Autoencoding):
    """An autoencoder with a critic of its codes and a discriminator of its images (algorithm 1, as corrected).

    A round is a step of each of the four players. `weight` is that of the reconstruction, lambda in the paper. Encoder
    and generator minimise -log D + log(1 - D), which is minus the logit.
    """

    generator: nn.Module
    discriminator: nn.Module
    critic: nn.Module
    BATCH = 64
    RECORDS = ("loss", "reconstruction")

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        critic_width: int = 750,
        latent: int = 128,
        batch_norm_group: int | None = None,
        weight: float = 20.0,
        lr: float = 5e-4,
        betas: tuple[float, float] = (0.5, 0.9),
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.weight = weight
        player = partial(Player, optimizer=partial(Adam, lr=lr, betas=betas), lr_schedule=lr_schedule)
        average = HalfLife(ema_half_life)
        networks = {
            "encoder": alphagan.Encoder(image=image, width=width, latent=latent, norm_group=batch_norm_group),
            "generator": dcgan.Generator(image=image, width=width, latent=latent, norm_group=batch_norm_group),
            "discriminator": dcgan.Discriminator(image=image, width=width, norm_group=batch_norm_group),
            "critic": alphagan.Critic(width=critic_width, latent=latent),
        }
        super().__init__(
            image=image,
            networks=networks,
            players={name: player(name) for name in networks},
            averages={"generator": average, "encoder": average},
            runtime=runtime,
        )

    def fakes(self, batch: Batch) -> list[Images]:
        """Return reconstructions and samples, without a gradient of the encoder."""
        with torch.no_grad():
            codes = self.call(self.encoder, batch.real)
        return [self.generate(codes, batch), self.generate(batch.latents, batch)]

    def generate(self, codes: Latents, batch: Batch) -> Images:
        """Run the generator, which ignores the labels."""
        return self.call(self.generator, codes, batch.fake_labels)  # type: ignore[no-any-return]

    def score(self, images: Images, batch: Batch) -> Logits:
        """Run the discriminator, which ignores the labels."""
        return self.call(self.discriminator, images, batch.labels)  # type: ignore[no-any-return]

    def reconstruction(self, decoded: Images, batch: Batch) -> PerSample:
        """The weighted mean absolute difference of pixels."""
        return self.weight * (decoded - batch.real).abs().flatten(1).mean(1)

    def encoder_loss(self, batch: Batch) -> Loss:
        """Reconstruct, with codes that the critic takes for the prior's."""
        codes = self.call(self.encoder, batch.real)
        decoded = self.generate(codes, batch)
        return {"loss": -self.call(self.critic, codes), "reconstruction": self.reconstruction(decoded, batch)}

    def generator_loss(self, batch: Batch) -> Loss:
        """Reconstruct, and make images, of codes and of latents, that the discriminator takes for real."""
        decoded, sampled = self.fakes(batch)
        adversarial = -self.score(decoded, batch) - self.score(sampled, batch)
        return {"loss": adversarial, "reconstruction": self.reconstruction(decoded, batch)}

    def discriminator_loss(self, batch: Batch) -> Loss:
        """-log D(x) - log(1 - D(G(E(x)))) - log(1 - D(G(z)))."""
        with torch.no_grad():
            fakes = self.fakes(batch)
        real, decoded, sampled = (self.score(images, batch) for images in (batch.real, *fakes))
        return {"loss": softplus(-real) + softplus(decoded) + softplus(sampled)}

    def critic_loss(self, batch: Batch) -> Loss:
        """-log C(z) - log(1 - C(E(x)))."""
        with torch.no_grad():
            codes = self.call(self.encoder, batch.real)
        prior, encoded = self.call(self.critic, batch.latents), self.call(self.critic, codes)
        return {"loss": softplus(-prior) + softplus(encoded)}
