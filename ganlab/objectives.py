"""Adversarial losses: one method per player, one number per sample."""

from typing import Protocol, runtime_checkable

from torch.nn.functional import softplus

from ganlab.types import Logits, PerSample


@runtime_checkable  # so that `ganlab.parts` can tell who is one
class Objective(Protocol):
    """What the players want; each returns a loss for every sample of its batch."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """Return the discriminator's loss for as many reals as fakes."""
        ...

    def generator(self, fake: Logits) -> PerSample:
        """Return the generator's loss."""
        ...


class NonSaturating(Objective):
    """Logistic loss, the generator maximising log D(G(z)) (Goodfellow et al. 2014, section 3)."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """-log D(x) - log(1 - D(G(z)))."""
        return softplus(-real) + softplus(fake)

    def generator(self, fake: Logits) -> PerSample:
        """-log D(G(z))."""
        return softplus(-fake)
