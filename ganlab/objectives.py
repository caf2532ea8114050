"""Adversarial losses: one method per player, one number per sample."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch.nn.functional import relu, softplus

from ganlab.types import Logits, PerSample


@runtime_checkable  # for `ganlab.experiment.parts`, which checks classes against it
class Objective(Protocol):
    """The losses of both players; each method returns one loss per sample of its batch."""

    sees_reals: ClassVar[bool] = False
    """Whether the generator's loss depends on the reals."""
    generator: Callable[..., PerSample]
    """The generator's loss: `generator(fake)`, or with `sees_reals` `generator(fake, real)`."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """Return the discriminator's loss for equally many reals and fakes."""
        ...


@dataclass(frozen=True)
class NonSaturating(Objective):
    """Logistic loss, the generator maximising log D(G(z)) (Goodfellow et al. 2014, section 3)."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """-log D(x) - log(1 - D(G(z)))."""
        return softplus(-real) + softplus(fake)

    def generator(self, fake: Logits) -> PerSample:
        """-log D(G(z))."""
        return softplus(-fake)


@dataclass(frozen=True)
class Hinge(Objective):
    """Hinge loss (Lim & Ye 2017; Miyato et al. 2018, eq. 16 and 17)."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """max(0, 1 - D(x)) + max(0, 1 + D(G(z)))."""
        return relu(1 - real) + relu(1 + fake)

    def generator(self, fake: Logits) -> PerSample:
        """-D(G(z))."""
        return -fake


@dataclass(frozen=True)
class Wasserstein(Objective):
    """Difference of a critic's means (Arjovsky et al. 2017, eq. 2); needs a penalty that keeps the critic Lipschitz."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """D(G(z)) - D(x)."""
        return fake - real

    def generator(self, fake: Logits) -> PerSample:
        """-D(G(z))."""
        return -fake


@dataclass(frozen=True)
class RelativisticPaired(Objective):
    """Logistic loss of the differences of pairs (Jolicoeur-Martineau 2019, section 4.1; Huang et al. 2024, eq. 2)."""

    sees_reals: ClassVar[bool] = True

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """-log sigmoid(D(x) - D(G(z)))."""
        return softplus(fake - real)

    def generator(self, fake: Logits, real: Logits) -> PerSample:
        """-log sigmoid(D(G(z)) - D(x))."""
        return softplus(real - fake)
