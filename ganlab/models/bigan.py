"""BiGAN: Donahue et al. 2017, "Adversarial feature learning"."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.dynamics import Simultaneous
from ganlab.engine.game import Loss
from ganlab.engine.penalties import judge
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.autoencoding import Autoencoding
from ganlab.networks import bigan
from ganlab.priors import Prior, Uniform
from ganlab.regularizers import Regularizer
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels, Latents, Logits


class BiGAN(Autoencoding):
    """The discriminator judges pairs: a real image and its code, or a code and its image (eq. 3 and 4).

    Both players step at once, from one batch of reals and codes. Their losses are those of the paper's code: the
    non-saturating form, each term halved, so that both begin at ln 2. Penalties are on the image of a pair, its code
    held. `width` is that of the permutation-invariant networks, which others may replace.
    """

    generator: nn.Module
    discriminator: nn.Module
    BATCH = 128

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 1024,
        generator: nn.Module | None = None,
        encoder: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        prior: Prior = Uniform(dims=50),
        batch_norm_group: int | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        weight_decay: float = 2.5e-5,
        lr_schedule: Schedule | None = None,
        regularizers: Mapping[str, Regularizer] | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.prior = prior
        kind: dict[str, Any] = {"image": image, "width": width, "latent": prior.dims, "norm_group": batch_norm_group}
        adam = partial(Adam, lr=lr, betas=betas, weight_decay=weight_decay)
        player = partial(Player, optimizer=adam, lr_schedule=lr_schedule)
        average = HalfLife(ema_half_life)
        super().__init__(
            image=image,
            networks={
                "generator": generator or bigan.Generator(**kind),
                "encoder": encoder or bigan.Encoder(**kind),
                "discriminator": discriminator or bigan.Discriminator(**kind),
            },
            players={
                "discriminator": player("discriminator", regularizers=regularizers),
                "generator": player("generator", "encoder"),
            },
            averages={"generator": average, "encoder": average},
            dynamics=Simultaneous(),
            runtime=runtime,
        )

    def pairs(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Return (x, E(x)) and (G(z), z)."""
        return {
            "real": (batch.real, self.codes(batch)),
            "fake": (self.call(self.generator, batch.latents), batch.latents),
        }

    def codes(self, batch: Batch) -> Latents:
        """E(x)."""
        return self.call(self.encoder, batch.real)  # type: ignore[no-any-return]

    def score(self, images: Tensor, codes: Tensor, full: bool = False) -> Logits:
        """Run the discriminator."""
        return self.call(self.discriminator, images, codes, full=full)  # type: ignore[no-any-return]

    def discriminator_loss(self, batch: Batch) -> Loss:
        """-log D(x, E(x)) - log(1 - D(G(z), z)), halved, and the due penalties."""
        with torch.no_grad():
            pairs = self.pairs(batch)
        penalties, logits = judge(self.score, pairs, batch)
        loss = (softplus(-logits["real"]) + softplus(logits["fake"])) / 2
        return {"loss": loss, **penalties}, {f"{at}_logit": logits[at] for at in pairs}

    def generator_loss(self, batch: Batch) -> Loss:
        """-log(1 - D(x, E(x))) - log D(G(z), z), halved: the encoder and the generator against the discriminator."""
        logits = {at: self.score(*pair) for at, pair in self.pairs(batch).items()}
        return {"loss": (softplus(logits["real"]) + softplus(-logits["fake"])) / 2}

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the same codes for both players."""
        return super().draw("pair", n, noise, labels)
