"""Adversarial variational Bayes: Mescheder et al. 2017; a critic estimates what a variational autoencoder computes."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.autoencoding import Autoencoding
from ganlab.models.distances import cross_entropy
from ganlab.networks import avb
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import Images, ImageSpec, Labels, Latents


class AVB(Autoencoding):
    """An autoencoder with any distribution of codes, and a critic T(x, z) whose optimum is log q(z | x) - log p(z).

    A round is a step of the critic, and in every `critic_steps`-th one of encoder and decoder together. The encoder
    gives codes, and mean and variance of a normal distribution r(z | x): the critic tells standardized codes from
    N(0, 1), and the rest of the divergence is known (adaptive contrast, section 3.3). The black-box encoder's r is the
    prior, which is algorithm 1. The defaults are those of the authors' four points; `encoder`, `decoder` and `critic`
    replace the networks.
    """

    decoder: nn.Module
    critic: nn.Module
    BATCH = 512
    RECORDS = ("loss", "reconstruction", "divergence")

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        critic_width: int = 256,
        latent: int = 2,
        noise: int = 64,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        critic: nn.Module | None = None,
        lr: float = 2e-5,
        critic_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        lr_schedule: Schedule | None = None,
        critic_steps: int = 2,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        player, adam = partial(Player, lr_schedule=lr_schedule), partial(Adam, betas=betas)
        average = HalfLife(ema_half_life)
        super().__init__(
            image=image,
            networks={
                "encoder": encoder or avb.Encoder(image=image, width=width, latent=latent, noise=noise),
                "decoder": decoder or avb.Decoder(image=image, width=width, latent=latent),
                "critic": critic or avb.Critic(image=image, width=critic_width, latent=latent),
            },
            players={
                "critic": player("critic", optimizer=partial(adam, lr=critic_lr)),
                "autoencoder": player("encoder", "decoder", optimizer=partial(adam, lr=lr), every=critic_steps),
            },
            averages={"decoder": average, "encoder": average},
            runtime=runtime,
        )
        self.encoding_noise = Noise(0, 0, dtype=runtime.dtype).normal("encode", 1, self.dims)

    def critic_loss(self, batch: Batch) -> Loss:
        """-log sigmoid(T(x, z)) of the posterior's codes, -log(1 - sigmoid(T(x, z))) of N(0, 1) (eq. 3.3)."""
        with torch.no_grad():
            codes, mean, variance = self.call(self.encoder, batch.real, batch["noise"])
        posterior = self.call(self.critic, batch.real, (codes - mean) * variance.rsqrt())
        return {"loss": softplus(-posterior) + softplus(self.call(self.critic, batch.real, batch.latents))}

    def autoencoder_loss(self, batch: Batch) -> Loss:
        """-log p(x | z) and the divergence KL(q(z | x) || p(z)), as the critic estimates it (eq. 3.8, algorithm 2)."""
        codes, mean, variance = self.call(self.encoder, batch.real, batch["noise"])
        mean, variance = mean.detach(), variance.detach()
        standard = (codes - mean) * variance.rsqrt()
        known = (codes.square() - standard.square() - variance.log()).sum(1) / 2  # log r(z | x) - log p(z)
        divergence = self.call(self.critic, batch.real, standard) + known
        reconstruction = cross_entropy(self.call(self.decoder, codes), batch.real)
        return {"loss": reconstruction + divergence}, {"reconstruction": reconstruction, "divergence": divergence}

    @property
    def dims(self) -> int:
        """Random numbers that the encoder takes for a code."""
        return int(self.encoder.noise)  # type: ignore[arg-type]

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the noise of the encoder too."""
        return super().draw(player, n, noise, labels) | {"noise": noise.normal(f"{player} noise", n, self.dims)}

    def averaged(self, latents: Latents, labels: Labels) -> Images:
        """The means of the pixels."""
        return torch.tanh(self.ema(latents) / 2)

    def encoded(self, images: Images) -> Latents:
        """One draw for each image, with the same noise for all."""
        noise = self.encoding_noise.to(images).expand(images.shape[0], -1)
        codes: Latents = self.encoder_ema.codes(images, noise)  # type: ignore[operator]
        return codes
