"""The two losses: what a player's move adds up for each sample, as functions of tensors alone."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from ganlab.augment import Augment
from ganlab.layers.recompute import keeping
from ganlab.objectives import Objective
from ganlab.regularizers import Regularizer, input_gradient
from ganlab.types import Images, Labels, Latents, Logits, PerSample, Precision


@dataclass(frozen=True)
class Draws:
    """The random numbers of a move: they are drawn before its loss, which is then a pure function."""

    latents: Latents
    labels: Labels
    """Of the fakes."""
    between: Tensor | None = None
    """Where between its real and its fake each mixed image lies [n, 1, 1, 1], in [0, 1); None where nobody asks."""
    real: Mapping[str, Tensor] = field(default_factory=dict)
    """What the augmentation of the reals drew."""
    fake: Mapping[str, Tensor] = field(default_factory=dict)


class Losses:
    """Both players' losses over a pair of networks.

    Args:
        generator, discriminator, objective, augment, precision: as `GANModule` has them.
    """

    def __init__(
        self,
        *,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        augment: Augment | None,
        precision: Precision,
    ) -> None:
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.objective, self.augment = objective, augment
        self.low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        self.real_dtype = torch.float64 if precision == "fp64" else torch.float32

    def discriminator(
        self, real: Images, labels: Labels, draws: Draws, due: Mapping[str, Regularizer]
    ) -> tuple[dict[str, PerSample], dict[str, Logits]]:
        """Return the discriminator's loss and due penalties on as many fakes as reals, and the logits of both."""
        with torch.no_grad():
            fake = self.generate(draws.latents, draws.labels)
        real, fake = self.augmented(real, draws.real), self.augmented(fake, draws.fake)
        points = {"real": (real, labels), "fake": (fake, draws.labels)}
        if draws.between is not None and any(penalty.at == "between" for penalty in due.values()):
            points["between"] = real.lerp(fake, draws.between), labels
        logits, penalties = {}, {}
        for at, (images, classes) in points.items():
            here = {name: penalty for name, penalty in due.items() if penalty.at == at}
            if any(penalty.of == "gradient" for penalty in here.values()):
                gradient, logits[at] = input_gradient(partial(self.score, labels=classes, full=True), images)
            else:
                gradient, logits[at] = images, self.score(images, classes)  # the gradient is not asked for
            for name, penalty in here.items():
                penalties[name] = penalty.term(gradient if penalty.of == "gradient" else logits[at])
        return {"loss": self.objective.discriminator(logits["real"], logits["fake"]), **penalties}, logits

    def generator(self, draws: Draws) -> dict[str, PerSample]:
        """Return the generator's loss."""
        fake = self.augmented(self.generate(draws.latents, draws.labels), draws.fake)
        return {"loss": self.objective.generator(self.score(fake, draws.labels))}

    def generate(self, latents: Latents, labels: Labels) -> Images:
        """Run the live generator under the run's precision; the images come back in full."""
        with self._autocast(latents):
            return self.networks["generator"](latents, labels).to(self.real_dtype)  # type: ignore[no-any-return]

    def score(self, images: Images, labels: Labels, full: bool = False) -> Logits:
        """Run the discriminator under the run's precision, or for a penalty in full; the logits come back in full."""
        with self._autocast(images, off=full), keeping() if full else nullcontext():
            return self.networks["discriminator"](images, labels).to(self.real_dtype)  # type: ignore[no-any-return]

    def augmented(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Augment images with what was drawn for them."""
        return images if self.augment is None else self.augment(images, drawn)

    def _autocast(self, inputs: Tensor, off: bool = False) -> torch.autocast:
        return torch.autocast(inputs.device.type, self.low, enabled=self.low is not None and not off)
