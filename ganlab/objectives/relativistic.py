"""Relativistic losses: a logit counts against those of the other kind (Jolicoeur-Martineau 2019)."""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import softplus

from ganlab.distributed import samples_of_all_ranks
from ganlab.objectives.base import Objective
from ganlab.types import Logits, PerSample


@dataclass(frozen=True, kw_only=True)
class RelativisticPaired(Objective):
    """Logistic loss of the differences of pairs (Jolicoeur-Martineau 2019, section 4.1; Huang et al. 2024, eq. 2)."""

    centering: float = 0.0
    """Weight of the squared sum of a pair's logits, without which the loss does not see a shift of all of them; Lin et
    al. 2025 have 0.01."""

    signed: ClassVar[bool] = False
    sees_reals: ClassVar[bool] = True

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """-log sigmoid(D(x) - D(G(z))), and perhaps centering (D(x) + D(G(z)))^2."""
        return softplus(fake - real) + self.centering * (real + fake).square()

    def generator(self, fake: Logits, real: Logits) -> PerSample:
        """-log sigmoid(D(G(z)) - D(x))."""
        return softplus(real - fake)


@dataclass(frozen=True)
class RelativisticAverage(Objective):
    """Logistic loss of the difference from the other kind's mean (Jolicoeur-Martineau 2019).

    Means are of the whole batch over all ranks, and carry gradients. The sum of both terms is halved, as in the
    author's code.
    """

    signed: ClassVar[bool] = False
    sees_reals: ClassVar[bool] = True
    coupled: ClassVar[bool] = True

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """(-log sigmoid(D(x) - E D(y)) - log sigmoid(E D(x) - D(y))) / 2."""
        mean_real, mean_fake = (samples_of_all_ranks(logits).mean() for logits in (real, fake))
        return (softplus(mean_fake - real) + softplus(fake - mean_real)) / 2

    def generator(self, fake: Logits, real: Logits) -> PerSample:
        """The same with reals and fakes exchanged."""
        return self.discriminator(fake, real)
