"""Density ratios: the discriminator's output is log r for r = p/q, the ratio of data to generator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from ganlab.objectives.base import Objective
from ganlab.types import Logits, PerSample

FAR = 15.0
"""The generator's step takes no log ratio beyond: one outlier's e^30 would be all of its gradient."""


class Terms(NamedTuple):
    """A loss of the log ratio, which is least at log(p/q)."""

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]


LOSSES: Mapping[str, Terms] = {
    "lsif": Terms(lambda d: -d.exp(), lambda d: (2 * d).exp() / 2),
    "kliep": Terms(lambda d: -d, lambda d: d.exp()),
    "exponential": Terms(lambda d: (-d / 2).exp(), lambda d: (d / 2).exp()),
}


@dataclass(frozen=True, kw_only=True)
class RatioMatching(Objective):
    """Fit the density ratio, then lower a divergence of it (Sugiyama et al. 2012; Mohamed & Lakshminarayanan 2016).

    `lsif` is least squares, half the Pearson divergence; `kliep` the Kullback-Leibler divergence; `exponential` the
    squared Hellinger distance. The logistic loss fits the ratio too: `Minimax`.

    The generator's loss is minus what its samples add to the discriminator's: with the ratio held fixed, only this is
    the divergence's gradient, E_q of f(r) - r f'(r). E_q f(r) (Uehara et al. 2016, b-GAN) has another direction.
    """

    loss: Literal["lsif", "kliep", "exponential"]

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """r(y)^2 / 2 - r(x), or r(y) - log r(x), or r(y)^(1/2) + r(x)^(-1/2)."""
        terms = LOSSES[self.loss]
        return terms.real(real) + terms.fake(fake)

    def generator(self, fake: Logits) -> PerSample:
        """-r(y)^2 / 2, or -r(y), or -r(y)^(1/2)."""
        return -LOSSES[self.loss].fake(fake.clamp(-FAR, FAR))
