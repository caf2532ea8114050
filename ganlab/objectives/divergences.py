"""f-GAN: Nowozin et al. 2016, "f-GAN: training generative neural samplers using variational divergence minimization".

For a convex f with f(1) = 0, D_f(P, Q) = E_q f(p/q) is at least E_p T(x) - E_q f*(T(y)) for every function T, and equal
to it at T = f'(p/q) (eq. 4). T = g(v) maps a discriminator's output v into the domain of the conjugate f*.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from ganlab.objectives.base import Objective
from ganlab.types import Logits, PerSample

Divergence = Literal[
    "kl",
    "reverse_kl",
    "pearson",
    "neyman",
    "squared_hellinger",
    "jeffrey",
    "jensen_shannon",
    "gan",
    "total_variation",
]

LOG_2 = math.log(2)


def jeffrey_conjugate(t: Tensor) -> Tensor:
    """W + 1/W + t - 2, where W is Lambert's function of e^(1 - t).

    Newton's method for u = log W, the root of u + e^u = 1 - t, from a point right of it, from which it converges.
    """
    a = 1 - t
    u = torch.where(a < 1, a, a.clamp(min=1).log())
    for _ in range(6):
        u = u - (u + u.exp() - a) / (1 + u.exp())
    return u.exp() + (-u).exp() + t - 2


class Row(NamedTuple):
    """A row of tables 1 and 2, as the discriminator's output gives it."""

    variational: Callable[[Tensor], Tensor]
    """g(v), the variational function T."""
    conjugate: Callable[[Tensor], Tensor]
    """f*(g(v)), simplified: the two one after the other would overflow."""


ROWS: Mapping[str, Row] = {
    "kl": Row(lambda v: v, lambda v: (v - 1).exp()),
    "reverse_kl": Row(lambda v: -(-v).exp(), lambda v: v - 1),
    "pearson": Row(lambda v: v, lambda v: v.square() / 4 + v),
    "neyman": Row(lambda v: 1 - (-v).exp(), lambda v: 2 - 2 * (-v / 2).exp()),
    "squared_hellinger": Row(lambda v: 1 - (-v).exp(), lambda v: v.exp() - 1),
    "jeffrey": Row(lambda v: v, jeffrey_conjugate),
    "jensen_shannon": Row(lambda v: LOG_2 + logsigmoid(v), lambda v: softplus(v) - LOG_2),
    "gan": Row(logsigmoid, softplus),
    "total_variation": Row(lambda v: v.tanh() / 2, lambda v: v.tanh() / 2),
}


@dataclass(frozen=True, kw_only=True)
class FDivergence(Objective):
    """The variational bound of a divergence of data P from generator Q (Nowozin et al. 2016, eq. 6).

    `jensen_shannon` is twice the Jensen-Shannon divergence, `gan` the same minus log 4: the logistic loss, whose trick
    is the non-saturating one. The outputs of `kl`, `pearson` and `jeffrey` are unbounded: rare samples of heavy tails
    have huge gradients.
    """

    signed: ClassVar[bool] = False
    name: Divergence
    trick: bool = True
    """The generator maximises E_q T instead of minimising the bound (section 3.2), as it does in the paper."""

    def discriminator(self, real: Logits, fake: Logits) -> PerSample:
        """Minus the bound: f*(T(G(z))) - T(x)."""
        row = ROWS[self.name]
        return row.conjugate(fake) - row.variational(real)

    def generator(self, fake: Logits) -> PerSample:
        """-T(G(z)) with the trick, or what the bound has of the generator: -f*(T(G(z)))."""
        row = ROWS[self.name]
        return -(row.variational if self.trick else row.conjugate)(fake)
