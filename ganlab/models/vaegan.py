"""VAE/GAN: Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric"."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import RMSprop

from ganlab import distributed
from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.dynamics import Simultaneous
from ganlab.engine.game import Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.autoencoding import Variational
from ganlab.models.distances import half_square
from ganlab.networks import vaegan
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels


class VAEGAN(Variational):
    """A variational autoencoder that compares images by features of the discriminator (algorithm 1).

    All three players step at once, from one batch. `gamma` weighs the decoder's reconstruction against its adversarial
    loss. A gate holds the discriminator back where it is too good and the decoder where it is too bad: where -log D(x)
    or -log(1 - D(G(z))) leaves `equilibrium` +- `margin`. As in the paper's code, the discriminator judges samples
    alone: with reconstructions too (algorithm 1), one that cannot tell would cost ln 3, outside the gate, and ln 1.5.

    The encoder weighs its divergence against a sum over all features: 16,384 at 64 px and `width=64`, for codes of 128
    numbers. With few features, codes say little of their images.
    """

    discriminator: nn.Module
    BATCH = 64
    RECORDS = ("loss", "reconstruction", "divergence", "real_cost", "fake_cost")

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        latent: int = 128,
        batch_norm_group: int | None = None,
        gamma: float = 1e-6,
        equilibrium: float = 0.68,
        margin: float = 0.35,
        lr: float = 0.025 / 64,  # that of the paper's code, divided by its batch, whose losses are sums
        weight_decay: float = 1e-5,
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.gamma, self.equilibrium, self.margin = gamma, equilibrium, margin
        optimizer, average = partial(RMSprop, lr=lr, weight_decay=weight_decay), HalfLife(ema_half_life)
        networks = {
            "encoder": vaegan.Encoder(image=image, width=width, latent=latent, norm_group=batch_norm_group),
            "decoder": vaegan.Decoder(image=image, width=width, latent=latent, norm_group=batch_norm_group),
            "discriminator": vaegan.Discriminator(image=image, width=width, norm_group=batch_norm_group),
        }
        super().__init__(
            image=image,
            networks=networks,
            players={name: Player(name, optimizer=optimizer, lr_schedule=lr_schedule) for name in networks},
            averages={"decoder": average, "encoder": average},
            dynamics=Simultaneous(),
            runtime=runtime,
        )

    def encoder_loss(self, batch: Batch) -> Loss:
        """The divergence of the codes, and -log p(D_l(x) | z): the distance of features (eq. 7)."""
        decoded, prior = self.encode_and_decode(batch)
        with torch.no_grad():
            real = self.call(self.discriminator, batch.real)[1]
        reconstruction = half_square(self.call(self.discriminator, decoded)[1], real)
        return {"loss": reconstruction + prior}, {"reconstruction": reconstruction, "divergence": prior}

    def decoder_loss(self, batch: Batch) -> Loss:
        """Gamma times the distance of features, minus 1 - gamma times the discriminator's loss on samples."""
        with torch.no_grad():
            real_logits, real = self.call(self.discriminator, batch.real)
        again = self.call(self.discriminator, self.encode_and_decode(batch)[0])[1]
        fake_logits, _ = self.call(self.discriminator, self.call(self.decoder, batch.latents))
        costs = {"real_cost": softplus(-real_logits), "fake_cost": softplus(fake_logits)}
        return {"loss": self.gamma * half_square(again, real) - (1 - self.gamma) * costs["fake_cost"]}, costs

    def discriminator_loss(self, batch: Batch) -> Loss:
        """-log D(x) - log(1 - D(G(z))) (eq. 1)."""
        with torch.no_grad():
            fakes = self.call(self.decoder, batch.latents)
        real, fake = (self.call(self.discriminator, images)[0] for images in (batch.real, fakes))
        costs = {"real_cost": softplus(-real), "fake_cost": softplus(fake)}
        return {"loss": costs["real_cost"] + costs["fake_cost"]}, costs

    def skips(self, player: str, found: Mapping[str, Tensor]) -> Tensor | None:
        """Close the gate, as the paper's code does; never to both players at once. On the device."""
        if player == "encoder":
            return None
        costs = distributed.average(torch.stack([found["real_cost"].mean(), found["fake_cost"].mean()]))
        too_good = (costs < self.equilibrium - self.margin).any()
        too_bad = (costs > self.equilibrium + self.margin).any()
        return too_good & ~too_bad if player == "discriminator" else too_bad & ~too_good

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the same latents and noise of codes for all players."""
        return super().draw("all", n, noise, labels) | {"noise": noise.normal("all noise", n, self.latent)}
