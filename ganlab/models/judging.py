"""How the two-player game's discriminator sees images: augmented, with noise of its own."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from ganlab.augment import Augment, augmented, change_of
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game
from ganlab.objectives import Objective
from ganlab.seeding import Noise
from ganlab.types import Images, Labels, Scores, UserError


class Judging(Game):
    """A game with a discriminator, and an augmentation of what it sees."""

    generator: nn.Module
    discriminator: nn.Module
    objective: Objective
    augment: Augment | None
    augment_memory: Tensor
    slope: Callable[..., tuple[Images, Scores]] | None = None
    """A game's own way to logits and their gradients by the images: see `ganlab.engine.penalties.judge`."""

    def adapt(self) -> None:
        """Make room for what the augmentation remembers."""
        if self.augment is None or (memory := self.augment.memory()) is None:
            return
        if not self.objective.signed:
            raise UserError(
                f"model.augment: adapts to the sign of real logits, which says nothing with "
                f"{type(self.objective).__name__}; write p: a number or a schedule"
            )
        self.register_buffer("augment_memory", memory.to(self.real_dtype))

    def score(self, images: Tensor, labels: Tensor, *noise: Tensor, full: bool = False) -> Scores:
        """Run the discriminator."""
        return self.call(self.discriminator, images, labels, *noise, full=full)  # type: ignore[no-any-return]

    def scores_of(self, images: Images, labels: Labels | None = None) -> Scores:
        """Score images, without labels as of class 0; a discriminator with noise of its own always gets the same."""
        labels = images.new_zeros(len(images)).long() if labels is None else labels
        draw = partial(Noise(0, 0, device=self.device, dtype=self.real_dtype).normal, "scores", len(images))
        return self.score(images, labels, *[draw(dims) for dims in [getattr(self.discriminator, "noise", 0)] if dims])

    def seen(self, batch: Batch, kind: str, images: Images, labels: Labels) -> tuple[Any, ...]:
        """Return what `judged` gets of images, "real" or "fake"."""
        noise = [batch[name] for name in [f"{kind} noise"] if name in batch]
        return images, labels, change_of(batch.tensors, kind), *noise

    def judged(
        self, images: Images, labels: Labels, change: Mapping[str, Tensor], *noise: Tensor, full: bool = False
    ) -> Scores:
        """Augment images and score them."""
        return self.score(augmented(self.augment, images, change), labels, *noise, full=full)

    def feed_back(self, player: str, found: Mapping[str, Tensor]) -> None:
        """Let the augmentation see how the discriminator judged the reals."""
        if self.augment is not None and player == "discriminator" and hasattr(self, "augment_memory"):
            self.augment.remember(self.augment_memory, found["real_logit"], self.clock.steps[player])
