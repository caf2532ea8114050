"""Adversarial autoencoder: Makhzani et al. 2016, "Adversarial autoencoders"."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import softplus
from torch.optim import SGD

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Loss
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.autoencoding import Autoencoding
from ganlab.models.distances import half_square
from ganlab.networks import autoencoder
from ganlab.priors import Normal, Prior
from ganlab.schedules import Schedule
from ganlab.types import ImageSpec, Latents, Logits


class AdversarialAutoencoder(Autoencoding):
    """An autoencoder whose codes a critic compares with those of a prior (section 2, the deterministic encoder).

    A round is a step of the encoder and the decoder together, which reconstruct; one of the critic; and one of the
    encoder alone, with an optimizer of its own, against the critic. `lr` and `momentum` are those of the first, the
    `adversarial_` ones those of the other two; `optimizers`, by player, replaces them.
    """

    decoder: nn.Module
    critic: nn.Module
    prior: Prior
    BATCH = 100
    REPLACES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "optimizers": ("lr", "momentum", "adversarial_lr", "adversarial_momentum")
    }

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 1000,
        prior: Prior = Normal(dims=8),
        lr: float = 0.01,
        momentum: float = 0.9,
        adversarial_lr: float = 0.1,
        adversarial_momentum: float = 0.1,
        optimizers: Mapping[str, MakeOptimizer] | None = None,
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.prior = prior
        adversarial = partial(SGD, lr=adversarial_lr, momentum=adversarial_momentum)
        make = optimizers or {
            "autoencoder": partial(SGD, lr=lr, momentum=momentum),
            "critic": adversarial,
            "encoder": adversarial,
        }
        moved = {"autoencoder": ("encoder", "decoder"), "critic": ("critic",), "encoder": ("encoder",)}
        average = HalfLife(ema_half_life)
        super().__init__(
            image=image,
            networks={
                "encoder": autoencoder.Encoder(image=image, width=width, latent=prior.dims),
                "decoder": autoencoder.Decoder(image=image, width=width, latent=prior.dims),
                "critic": autoencoder.Critic(width=width, latent=self.judged_dims(image)),
            },
            players={
                name: Player(*networks, optimizer=make[name], lr_schedule=lr_schedule)
                for name, networks in moved.items()
            },
            averages={"decoder": average, "encoder": average},
            runtime=runtime,
        )

    def judged_dims(self, image: ImageSpec) -> int:
        """Numbers that the critic sees."""
        return self.prior.dims

    def verdict(self, codes: Latents, batch: Batch) -> Logits:
        """Run the critic, which is told nothing but the codes."""
        return self.call(self.critic, codes)  # type: ignore[no-any-return]

    def autoencoder_loss(self, batch: Batch) -> Loss:
        """Half the squared error, summed over an image in [0, 1]."""
        decoded = self.call(self.decoder, self.call(self.encoder, batch.real))
        return {"loss": half_square(decoded, batch.real) / 4}  # from [-1, 1] to [0, 1]

    def critic_loss(self, batch: Batch) -> Loss:
        """-log D(z) of the prior's codes, -log(1 - D(E(x))) of those of images."""
        with torch.no_grad():
            codes = self.call(self.encoder, batch.real)
        prior, encoded = self.verdict(batch.latents, batch), self.verdict(codes, batch)
        return {"loss": softplus(-prior) + softplus(encoded)}, {"prior_logit": prior, "encoded_logit": encoded}

    def encoder_loss(self, batch: Batch) -> Loss:
        """-log D(E(x))."""
        return {"loss": softplus(-self.verdict(self.call(self.encoder, batch.real), batch))}
