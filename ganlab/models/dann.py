"""DANN: Ganin et al. 2016, "Domain-adversarial training of neural networks"."""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus
from torch.optim import SGD

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.optimizers import value_at
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.networks import dann
from ganlab.networks.conditioning import learned_classes
from ganlab.schedules import InverseDecay, Saturating, Schedule, ending
from ganlab.seeding import Noise
from ganlab.types import Features, ImageSpec, Labels, PerSample


class DANN(Game):
    """A classifier of the reals (source) learns features in which the other stream (target) looks like them.

    One player moves all: the domain classifier's gradient reaches the features reversed. Classes of the target are not
    used. `classify` uses an average, which is ours; the game makes no images. The values are those for MNIST.

    Args:
        width, hidden_width: channels of the first convolution, units of the dense layers.
        reversal: factor on the reversed gradient, lambda.
        lr, momentum, lr_schedule: of SGD, with a factor on the learning rate.
        image, ema_half_life, runtime: see `GANModule`.
    """

    BATCH = 64
    LEARNS_CLASSES: ClassVar[tuple[str, ...]] = ("real",)
    RECORDS = ("loss", "domain")
    classifier: nn.Module
    domains: nn.Module

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 32,
        hidden_width: int = 100,
        reversal: float | Schedule = Saturating(),
        lr: float = 0.01,
        momentum: float = 0.9,
        lr_schedule: Schedule | None = InverseDecay(),
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        runtime.need_other("the target domain", image)
        classifier = dann.Classifier(
            image=image, classes=learned_classes(image), width=width, hidden_width=hidden_width
        )
        super().__init__(
            image=image,
            networks={
                "classifier": classifier,
                "domains": dann.Domains(dims=classifier.dims, hidden_width=hidden_width),
            },
            players={
                "classifier": Player(
                    "classifier",
                    "domains",
                    optimizer=partial(SGD, lr=lr, momentum=momentum),
                    lr_schedule=lr_schedule,
                )
            },
            averages={"classifier": HalfLife(ema_half_life)},
            runtime=runtime,
        )
        self.reversal = reversal if isinstance(reversal, int | float) else ending(reversal, runtime.total_nimg)

    def classifier_loss(self, batch: Batch) -> Loss:
        """Eq. 9 and 10 of section 4: both losses, with the domains' gradient reversed on its way to the features."""
        logits, source = self.call(self.classifier, batch.real)
        _, target = self.call(self.classifier, batch.other)
        source, target = (
            self.call(self.domains, reversed_gradient(features, batch["reversal"])) for features in (source, target)
        )
        classes = cross_entropy(logits, batch.labels, reduction="none", ignore_index=-1)
        return {"loss": classes, "domain": softplus(-source) + softplus(target)}

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw nothing; give each sample the current factor of its reversed gradient."""
        return {
            "reversal": torch.full((n,), value_at(self.reversal, noise.nimg), dtype=noise.dtype, device=noise.device)
        }

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """Return the probabilities of the classes [n, classes] of images, uint8 or in [-1, 1], by the average."""
        logits, _ = self.ema(self.as_floats(images.to(self.device)))
        return logits.softmax(1)  # type: ignore[no-any-return]


def reversed_gradient(features: Features, factor: PerSample) -> Features:
    """Return features [n, d] whose gradient will be multiplied by -factor (eq. 12 and 13); factors [n]."""
    factor = factor[:, None]
    return (1 + factor) * features.detach() - factor * features
