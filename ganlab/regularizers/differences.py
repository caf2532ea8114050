"""R1 and R2 by finite differences (Lin et al. 2025): one more pass instead of a double backward.

To be preferred where the discriminator has operations without a second derivative (fused attention, checkpointing) or
its graph does not fit: the expected value is R1's up to O(std^2), and a single draw has the relative spread of a
squared normal number, so exact penalties are better where they can be had.
"""

from dataclasses import dataclass

from torch.nn import functional as F
from torch.utils._pytree import tree_map

from ganlab.regularizers.base import Point, Regularizer, given
from ganlab.types import PerSample


@dataclass(frozen=True, kw_only=True)
class FiniteDifferenceR1(Regularizer):
    """Half the squared slope along a random direction at real images; `weight` is as for `R1`."""

    std: float = 0.01
    """Deviation of the step, in pixels' units. Both passes are in full precision: their difference is small."""
    stride: int = 1
    """The second pass takes every so many-th sample, which counts so many times: 4 costs a quarter of it (Lin et al.
    take the first quarter). It must divide `train.group`."""

    at = ("real",)
    gradient, full, noise = False, True, "real"

    def penalty(self, point: Point) -> PerSample:
        """((D(x + std n) - D(x)) / std)^2 / 2, n normal; 0 at samples that are left out."""
        images, *rest = tree_map(lambda tensor: tensor[:: self.stride], point.inputs)
        near = point.network(images + self.std * given(point.noise)[:: self.stride], *rest)
        slope = (near - point.output[:: self.stride]) / self.std
        return F.pad(self.stride * slope.square()[:, None] / 2, (0, self.stride - 1)).flatten()


class FiniteDifferenceR2(FiniteDifferenceR1):
    """The same at generated images; `weight` is as for `R2`."""

    at = ("fake",)
