"""f-AnoGAN: Schlegl et al. 2019, "fast unsupervised anomaly detection with generative adversarial networks"."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import RMSprop

from ganlab.engine.averages import RAMPED, Decay, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.distances import mean
from ganlab.networks import alphagan, resnet
from ganlab.schedules import Schedule
from ganlab.types import Images, ImageSpec, Labels, PerSample


class FAnoGAN(Game):
    """An encoder learns to invert a trained WGAN-GP of normal images; what comes back badly is not normal.

    Only the encoder steps: generator and discriminator are those of another run, `ganlab train CONFIG --from RUN`, and
    the generator is that run's average. The encoder is DCGAN's, in groups of its batch norm.

    Args:
        image: shape of the images.
        width: channels next to the image, of all three networks; that of the other run.
        latent: dimensions of its latent.
        weight: kappa, of the difference of the discriminator's features.
        lr: RMSprop's.
        batch_norm_group: consecutive images per batch norm of the encoder; None is the batch of all processes.
        ema_half_life: of the encoder's average, which makes the scores.
        runtime: see `GANModule`.
    """

    BATCH = 64
    RECORDS = ("loss", "features")
    discriminator: resnet.Discriminator
    encoder: nn.Module
    encoder_ema: nn.Module

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        latent: int = 128,
        weight: float = 1.0,
        lr: float = 5e-5,
        batch_norm_group: int | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.weight = weight
        super().__init__(
            image=image,
            networks={
                "generator": resnet.Generator(image=image, width=width, latent=latent),
                "discriminator": resnet.Discriminator(image=image, width=width, spectral_norm=False, pooling="mean"),
                "encoder": alphagan.Encoder(image=image, width=width, latent=latent, norm_group=batch_norm_group),
            },
            players={"encoder": Player("encoder", optimizer=partial(RMSprop, lr=lr))},
            averages={"generator": Decay(1.0, after="encoder"), "encoder": HalfLife(ema_half_life)},
            runtime=runtime,
        )

    def encoder_loss(self, batch: Batch) -> Loss:
        """|x - G(E(x))|^2 + kappa |f(x) - f(G(E(x)))|^2, means over pixels and over features (eq. 3, izi_f)."""
        again = self.call(self.ema, self.call(self.encoder, batch.real), batch.labels)
        features = partial(self.call, self.discriminator.features)
        return {
            "loss": mean((again - batch.real).square()),
            "features": self.weight * mean((features(again) - features(batch.real)).square()),
        }

    def made_from(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return what the generator makes of the encoder's codes."""
        return {"reconstruction": self.ema(self.encoder_ema(images), labels)}

    @torch.no_grad()
    def anomaly(self, images: Tensor) -> PerSample:
        """Return the anomaly score of images [n, c, h, w], uint8 or floats in [-1, 1]: the loss, by the averages."""
        real = self.as_floats(images.to(self.device))
        again = self.ema(self.encoder_ema(real), torch.full((len(real),), -1, device=self.device))
        difference = self.discriminator.features(again) - self.discriminator.features(real)
        return mean((again - real).square()) + self.weight * mean(difference.square())
