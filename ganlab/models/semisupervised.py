"""Few labels: Salimans et al. 2016, "Improved techniques for training GANs", section 5, with feature matching."""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus
from torch.optim import Adam

from ganlab.engine.averages import Decay
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.networks import semisupervised
from ganlab.networks.conditioning import learned_classes
from ganlab.objectives.moments import squared_mean
from ganlab.priors import Uniform
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels


class SemiSupervisedGAN(Game):
    """A classifier of K classes learns from few labelled images and many unlabelled ones: fakes are class K + 1.

    The labelled images are the other stream (`data.other: {url: ..., labelled: 10}`), and the reals are unlabelled. The
    values are those for MNIST. `classify` uses the average of the discriminator, whose accuracy is the aim: with
    feature matching, samples are poor. Deviations: averages start at the initial weights, not at 0; the generator sees
    the discriminator's reals; initial gains do not depend on the data.

    Args:
        width: units of the discriminator's first layer; the generator has half as many.
        latent: dimensions of the latent, uniform in [0, 1).
        lr, betas: Adam's, for both players.
        decay: of both averages, per step.
        batch_norm_group: consecutive images per batch norm, None for the batch of all processes.
        image, runtime: see `GANModule`.
    """

    BATCH = 100
    LEARNS_CLASSES: ClassVar[tuple[str, ...]] = ("other",)
    RECORDS = ("loss", "class", "real_logit", "fake_logit")
    coupled = True
    generator: nn.Module
    discriminator: semisupervised.Classifier
    discriminator_ema: semisupervised.Classifier

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 1000,
        latent: int = 100,
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.5, 0.999),
        decay: float = 0.9999,
        batch_norm_group: int | None = None,
        runtime: Runtime = Runtime(),
    ) -> None:
        classes = learned_classes(runtime.need_other("the labelled images", image), "data.other")
        self.prior = Uniform(dims=latent, low=0.0)
        adam = partial(Adam, lr=lr, betas=betas)
        super().__init__(
            image=image,
            networks={
                "generator": semisupervised.Generator(
                    image=image, latent=latent, width=width // 2, norm_group=batch_norm_group
                ),
                "discriminator": semisupervised.Classifier(image=image, classes=classes, width=width),
            },
            players={name: Player(name, optimizer=adam) for name in ("discriminator", "generator")},
            averages={"generator": Decay(decay), "discriminator": Decay(decay)},
            runtime=runtime,
        )

    def discriminator_loss(self, batch: Batch) -> Loss:
        """-log p(y|x, y <= K) - (log p(y <= K|x) + log p(K + 1|G(z))) / 2, with a logit of 0 for class K + 1."""
        with torch.no_grad():
            fake = self.call(self.generator, batch.latents, batch.fake_labels)
        labelled, _ = self.call(self.discriminator, batch.other, batch["labelled noise"])
        real, _ = self.call(self.discriminator, batch.real, batch["real noise"])
        made, _ = self.call(self.discriminator, fake, batch["fake noise"])
        real_logit, fake_logit = real.logsumexp(1), made.logsumexp(1)  # log p(y <= K|x) = -softplus(-logit)
        classes = cross_entropy(labelled, batch.other_labels, reduction="none", ignore_index=-1)
        loss = (softplus(-real_logit) + softplus(fake_logit)) / 2
        return {"loss": loss, "class": classes}, {"real_logit": real_logit, "fake_logit": fake_logit}

    def generator_loss(self, batch: Batch) -> Loss:
        """|E f(x) - E f(G(z))|^2 by feature, with the features of the last hidden layer (section 3.1)."""
        fake = self.call(self.generator, batch.latents, batch.fake_labels)
        _, made = self.call(self.discriminator, fake, batch["fake noise"])
        _, real = self.call(self.discriminator, batch.real, batch["real noise"])
        return {"loss": squared_mean(real - made) / real.shape[1]}

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the noise in the discriminator too, for each of its passes."""
        kinds = ("real", "fake") if player == "generator" else ("labelled", "real", "fake")
        total = sum(self.discriminator.widths)
        drawn = {f"{kind} noise": noise.normal(f"{player} {kind} noise", n, total) for kind in kinds}
        return super().draw(player, n, noise, labels) | drawn

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """Return the probabilities of the classes [n, classes] of images, uint8 or in [-1, 1], by the average."""
        logits, _ = self.discriminator_ema(self.as_floats(images.to(self.device)))
        return logits.softmax(1)  # type: ignore[no-any-return]
