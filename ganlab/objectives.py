"""Adversarial losses: one method per player, one number per sample."""

from typing import Protocol, runtime_checkable

from torch.nn.functional import relu, softplus

from ganlab.types import Logits, PerSample


@runtime_checkable  # so that `ganlab.experiment.parts` can tell who is one
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


class Hinge(Objective):
    """Hinge loss (Lim & Ye 2017; Miyato et al. 2018, eq. 16 and 17)."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """max(0, 1 - D(x)) + max(0, 1 + D(G(z)))."""
        return relu(1 - real) + relu(1 + fake)

    def generator(self, fake: Logits) -> PerSample:
        """-D(G(z))."""
        return -fake


class Wasserstein(Objective):
    """Difference of a critic's means (Arjovsky et al. 2017, eq. 2); wants a penalty that keeps the critic Lipschitz."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """D(G(z)) - D(x)."""
        return fake - real

    def generator(self, fake: Logits) -> PerSample:
        """-D(G(z))."""
        return -fake
