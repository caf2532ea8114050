"""Variational autoencoder: Kingma & Welling 2014, "Auto-encoding variational Bayes"; a game of one player."""

from functools import partial

from torch import Tensor
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.autoencoding import Variational
from ganlab.models.distances import half_square
from ganlab.networks import vaegan
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels


class VAE(Variational):
    """The encoder gives a normal distribution of codes, the decoder the mean of one of images, of variance 1.

    Its networks are those of VAE/GAN, which it is there to be compared with.
    """

    BATCH = 64
    RECORDS = ("loss", "reconstruction", "divergence")

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        latent: int = 128,
        batch_norm_group: int | None = None,
        lr: float = 1e-3,
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        average = HalfLife(ema_half_life)
        super().__init__(
            image=image,
            networks={
                "encoder": vaegan.Encoder(image=image, width=width, latent=latent, norm_group=batch_norm_group),
                "decoder": vaegan.Decoder(image=image, width=width, latent=latent, norm_group=batch_norm_group),
            },
            players={
                "autoencoder": Player("encoder", "decoder", optimizer=partial(Adam, lr=lr), lr_schedule=lr_schedule)
            },
            averages={"decoder": average, "encoder": average},
            runtime=runtime,
        )

    def autoencoder_loss(self, batch: Batch) -> Loss:
        """-log p(x | z) with one z of q(z | x), up to a constant, and KL(q(z | x) || N(0, 1)) (eq. 10)."""
        decoded, prior = self.encode_and_decode(batch)
        reconstruction = half_square(decoded, batch.real)
        return {"loss": reconstruction + prior}, {"reconstruction": reconstruction, "divergence": prior}

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the noise of the codes."""
        return {"noise": noise.normal(f"{player} noise", n, self.latent)}
