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


@dataclass(frozen=True, kw_only=True)
class Consistency(Regularizer):
    """Judge a mirrored and shifted copy of an image as the image itself (bCR: Zhao et al. 2021, section 3.1).

    At reals and fakes alike; half of the copies are mirrored. Their weight is 10.
    """

    shift: float = 0.125
    """Largest shift, a share of the sides; the border's pixels fill what it uncovers. The default is 4 of 32 px."""

    at = ("real", "fake")
    gradient, noise = False, "real"

    def penalty(self, point: Point) -> PerSample:
        """(D(x) - D(T(x)))^2."""
        images, *rest = point.inputs
        flip, down, right = torch.special.ndtr(given(point.noise).flatten(1)[:, :3]).unbind(1)  # uniform
        copies = torch.where(flip.view(-1, 1, 1, 1) < 0.5, images.flip(3), images)
        for u, dim in ((down, 2), (right, 3)):
            size = images.shape[dim]
            most = int(self.shift * size + 0.5)
            by = (u * (2 * most + 1)).long() - most
            at = (torch.arange(size, device=images.device) - by[:, None]).clamp(0, size - 1)  # n size
            copies = copies.gather(dim, at[:, None].unsqueeze(5 - dim).expand(images.shape))
        return (point.output - point.network(copies, *rest)).square()


def follow(mean: Tensor, values: Tensor, decay: float) -> None:
    """Update a running mean with this rank's share of its new value; one that is not finite counts for nothing."""
    values = average(values.to(mean.dtype))
    mean.copy_(torch.where(values.isfinite(), mean.lerp(values, 1 - decay), mean))
