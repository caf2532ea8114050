"""The classical losses, each of one logit at a time."""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import relu, softplus

from ganlab.objectives.base import Objective
from ganlab.types import Logits, PerSample, UserError


@dataclass(frozen=True)
class Minimax(Objective):
    """The zero-sum logistic game (Goodfellow et al. 2014, eq. 1); its value is 2 JSD(p, q) - log 4 at the best D."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """-log D(x) - log(1 - D(G(z)))."""
        return softplus(-real) + softplus(fake)

    def generator(self, fake: Logits) -> PerSample:
        """log(1 - D(G(z))): flat where the discriminator is sure."""
        return -softplus(fake)


@dataclass(frozen=True, kw_only=True)
class NonSaturating(Objective):
    """Logistic loss, the generator maximising log D(G(z)) (Goodfellow et al. 2014, section 3)."""

    real_target: float = 1.0
    """Below 1: one-sided label smoothing (Salimans et al. 2016, section 3.4); the best D(x) is target * p / (p + q)."""

    def __post_init__(self) -> None:
        if not 0 < self.real_target <= 1:
            raise UserError(f"real_target: {self.real_target} is no probability; write for example 0.9, or 1")

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """-log D(x) - log(1 - D(G(z))), with `real_target` the cross-entropy to it at the reals."""
        loss = softplus(-real) + softplus(fake)
        # t * softplus(-r) + (1 - t) * softplus(r) = softplus(-r) + (1 - t) * r
        return loss if self.real_target == 1 else loss + (1 - self.real_target) * real

    def generator(self, fake: Logits) -> PerSample:
        """-log D(G(z))."""
        return softplus(-fake)


@dataclass(frozen=True)
class LeastSquares(Objective):
    """Squared distance of raw logits from 1 for reals and 0 for fakes (Mao et al. 2017, eq. 9)."""

    signed: ClassVar[bool] = False

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """(D(x) - 1)^2 / 2 + D(G(z))^2 / 2."""
        return ((real - 1).square() + fake.square()) / 2

    def generator(self, fake: Logits) -> PerSample:
        """(D(G(z)) - 1)^2 / 2."""
        return (fake - 1).square() / 2


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

    signed: ClassVar[bool] = False

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """D(G(z)) - D(x)."""
        return fake - real

    def generator(self, fake: Logits) -> PerSample:
        """-D(G(z))."""
        return -fake
