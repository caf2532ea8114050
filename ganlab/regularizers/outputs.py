"""Penalties on the logits themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganlab.distributed import average
from ganlab.regularizers.base import Point, Regularizer, given
from ganlab.types import PerSample


class Drift(Regularizer):
    """Squared logit of real images, which keeps a Wasserstein critic near zero (Karras et al. 2018, appendix A.1).

    Their epsilon, 0.001, is `weight`.
    """

    at = ("real",)
    gradient = False

    def penalty(self, point: Point) -> PerSample:
        """D(x)^2."""
        return point.output.square()


@dataclass(frozen=True, kw_only=True)
class LeCam(Regularizer):
    """Keep logits from leaving the running mean of the other kind's, for few data (Tseng et al. 2021).

    As in the authors' code only logits beyond the other's mean count. It needs a loss that records `real_logit` and
    `fake_logit`; the means are those before the step, and begin at 0. Their weight is 0.3, from step 1,000 on.
    """

    decay: float = 0.99

    at = ("real", "fake")
    gradient = False

    def penalty(self, point: Point) -> PerSample:
        """max(0, D(x) - mean of D(G(z)))^2, and max(0, mean of D(x) - D(G(z)))^2."""
        mean_real, mean_fake = given(point.memory).unbind()
        beyond = point.output - mean_fake if point.at == "real" else mean_real - point.output
        return beyond.relu().square()

    def memory(self, weights: Sequence[Tensor]) -> Tensor:
        """The running means of both kinds' logits [2]."""
        return torch.zeros(2, dtype=weights[0].dtype)

    def remember(self, memory: Tensor, found: Mapping[str, Tensor], weights: Sequence[Tensor], steps: int) -> None:
        """Let the means follow the batch's."""
        follow(memory, torch.stack([found["real_logit"].mean(), found["fake_logit"].mean()]), self.decay)


def follow(mean: Tensor, values: Tensor, decay: float) -> None:
    """Update a running mean with this rank's share of its new value; one that is not finite counts for nothing."""
    values = average(values.to(mean.dtype))
    mean.copy_(torch.where(values.isfinite(), mean.lerp(values, 1 - decay), mean))
