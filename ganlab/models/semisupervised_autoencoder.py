"""Few labels: Makhzani et al. 2016, "Adversarial autoencoders", section 5."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, softplus
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
from ganlab.networks.conditioning import learned_classes
from ganlab.schedules import Schedule
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits


class SemiSupervisedAutoencoder(Autoencoding):
    """Codes have a class and a style, each with a critic and a prior; a few labelled images name the classes.

    A round is a step of the encoder and the decoder, which reconstruct; one of both critics; one of the encoder against
    them; and one of the encoder on labelled images, those of the other stream (`data.other: {url: ..., labelled: 10}`).
    Each has an optimizer of its own; `optimizers`, by player, replaces them. The labels of the reals are not used.
    """

    decoder: nn.Module
    style_critic: nn.Module
    class_critic: nn.Module
    conditional = False
    BATCH = 100
    LEARNS_CLASSES: ClassVar[tuple[str, ...]] = ("other",)
    REPLACES: ClassVar[Mapping[str, tuple[str, ...]]] = {"optimizers": ("lr", "adversarial_lr")}

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 1000,
        latent: int = 10,
        lr: float = 0.01,
        adversarial_lr: float = 0.1,
        optimizers: Mapping[str, MakeOptimizer] | None = None,
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        k = learned_classes(runtime.need_other("the labelled images", image), "data.other")
        adversarial, player = partial(SGD, lr=adversarial_lr, momentum=0.1), partial(Player, lr_schedule=lr_schedule)
        make = optimizers or {
            "autoencoder": partial(SGD, lr=lr, momentum=0.9),
            "critics": adversarial,
            "encoder": adversarial,
            "classifier": partial(SGD, lr=adversarial_lr, momentum=0.9),
        }
        average = HalfLife(ema_half_life)
        super().__init__(
            image=image,
            networks={
                "encoder": autoencoder.ClassEncoder(image=image, classes=k, width=width, latent=latent),
                "decoder": autoencoder.ClassDecoder(image=image, classes=k, width=width, latent=latent),
                "style_critic": autoencoder.Critic(width=width, latent=latent),
                "class_critic": autoencoder.Critic(width=width, latent=k),
            },
            players={
                "autoencoder": player("encoder", "decoder", optimizer=make["autoencoder"]),
                "critics": player("style_critic", "class_critic", optimizer=make["critics"]),
                "encoder": player("encoder", optimizer=make["encoder"]),
                "classifier": player("encoder", optimizer=make["classifier"]),
            },
            averages={"decoder": average, "encoder": average},
            runtime=runtime,
        )

    def codes(self, images: Images) -> tuple[Tensor, Latents]:
        """Return the probabilities of the classes, and the style, of images."""
        scores, style = self.call(self.encoder, images)
        return scores.softmax(1), style

    def autoencoder_loss(self, batch: Batch) -> Loss:
        """Half the squared error, summed over an image in [0, 1]."""
        shares, style = self.codes(batch.real)
        return {"loss": half_square(self.call(self.decoder, style, shares), batch.real) / 4}  # from [-1, 1] to [0, 1]

    def verdicts(self, shares: Tensor, style: Latents) -> tuple[Logits, Logits]:
        """Return both critics' logits."""
        return self.call(self.class_critic, shares), self.call(self.style_critic, style)

    def critics_loss(self, batch: Batch) -> Loss:
        """Tell random classes from the probabilities of classes, and N(0, 1) from styles."""
        with torch.no_grad():
            codes = self.codes(batch.real)
        classes = one_hot(batch.fake_labels, self.classes).to(batch.latents.dtype)
        pairs = zip(self.verdicts(classes, batch.latents), self.verdicts(*codes), strict=True)
        return {"loss": torch.stack([softplus(-prior) + softplus(encoded) for prior, encoded in pairs]).sum(0)}

    def encoder_loss(self, batch: Batch) -> Loss:
        """Make both parts of a code look like their priors."""
        of_classes, of_styles = self.verdicts(*self.codes(batch.real))
        return {"loss": softplus(-of_classes) + softplus(-of_styles)}

    def classifier_loss(self, batch: Batch) -> Loss:
        """Cross entropy on the labelled images; those without a class count as 0."""
        scores, _ = self.call(self.encoder, batch.other)
        return {"loss": cross_entropy(scores, batch.other_labels, reduction="none", ignore_index=-1)}

    def encoded(self, images: Images) -> Latents:
        """The probabilities of the classes, and the style."""
        scores, style = self.encoder_ema(images)
        return torch.cat([scores.softmax(1), style], 1)

    def made_from(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return the reconstructions."""
        scores, style = self.encoder_ema(images)
        return {"reconstruction": self.ema(style, scores.softmax(1))}

    def classify(self, images: Tensor) -> Tensor:
        """Return the probabilities of the classes [n, classes] of images, uint8 or in [-1, 1], by the average."""
        return self.encode(images)[:, : self.classes]
