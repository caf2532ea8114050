"""What an objective is."""

from collections.abc import Callable
from typing import ClassVar, Protocol, runtime_checkable

from ganlab.types import PerSample, Scores


@runtime_checkable  # for `ganlab.experiment.parts`, which checks classes against it
class Objective(Protocol):
    """The losses of both players; each method returns one loss per sample of its batch."""

    sees_reals: ClassVar[bool] = False
    """Whether the generator's loss depends on the reals."""
    coupled: ClassVar[bool] = False
    """Whether a sample's loss depends on the other samples: those of the whole batch, over all ranks."""
    signed: ClassVar[bool] = True
    """Whether a positive logit says real."""
    generator: Callable[..., PerSample]
    """The generator's loss: `generator(fake)`, or with `sees_reals` `generator(fake, real)`."""

    def discriminator(self, real: Scores, fake: Scores) -> PerSample:
        """Return the discriminator's loss for equally many reals and fakes."""
        ...
