"""Moment matching: the means of features of reals and fakes, of a batch as a whole.

A discriminator's scores are features here, [n, k]; logits [n] are one feature. The batch is that of all ranks.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ganlab.distributed import rank, samples_of_all_ranks
from ganlab.objectives.base import Objective
from ganlab.objectives.kernels import GaussianKernel, Kernel
from ganlab.types import PerSample, Scores


@dataclass(frozen=True, kw_only=True)
class MMD(Objective):
    """Squared maximum mean discrepancy, which the discriminator's features raise and the generator lowers.

    Li et al. 2017 and Binkowski et al. 2018, without their autoencoder and penalties. It is the unbiased
    estimate, which may be negative.
    """

    signed: ClassVar[bool] = False
    sees_reals: ClassVar[bool] = True
    coupled: ClassVar[bool] = True

    kernel: Kernel = GaussianKernel()

    def discriminator(self, real: Scores, fake: Scores) -> PerSample:
        """-MMD^2."""
        return -self.generator(fake, real)

    def generator(self, fake: Scores, real: Scores) -> PerSample:
        """MMD^2, as sample i's share of it: means over the j other than i of all ranks (Gretton et al. 2012, eq. 4).

        k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)
        """
        return self.near(real, real) + self.near(fake, fake) - self.near(real, fake) - self.near(fake, real)

    def near(self, samples: Scores, others: Scores) -> PerSample:
        """Return the mean kernel between each sample and the `others` of all ranks, without that of the same number."""
        samples, others = (scores.reshape(len(scores), -1) for scores in (samples, others))
        n, others = len(samples), samples_of_all_ranks(others)
        squares = (samples[:, None] - others).square().sum(2)  # n, all
        here = torch.arange(rank() * n, (rank() + 1) * n, device=samples.device)
        other = here[:, None] != torch.arange(len(others), device=samples.device)
        return (self.kernel(squares) * other).sum(1) / (len(others) - 1)


@dataclass(frozen=True, kw_only=True)
class RepulsiveMMD(MMD):
    """The generator lowers the discrepancy; the discriminator spreads the reals and contracts the fakes.

    Wang et al. 2019, who take one Gaussian kernel of width 1.
    """

    kernel: Kernel = GaussianKernel(widths=(1.0,))

    def discriminator(self, real: Scores, fake: Scores) -> PerSample:
        """E k(x, x') - E k(y, y')."""
        return self.near(real, real) - self.near(fake, fake)


@dataclass(frozen=True)
class FeatureMatching(Objective):
    """The generator matches the means of features, the discriminator's loss is logistic (Salimans et al. 2016, 3.1).

    Scores are [n, 1 + k]: the logit, then the features, such as those of the last hidden layer. With a batch of n the
    squared distance is too large by the trace of the features' covariances over n.
    """

    signed: ClassVar[bool] = False
    sees_reals: ClassVar[bool] = True
    coupled: ClassVar[bool] = True

    def discriminator(self, real: Scores, fake: Scores) -> PerSample:
        """-log D(x) - log(1 - D(G(z)))."""
        return softplus(-real[:, 0]) + softplus(fake[:, 0])

    def generator(self, fake: Scores, real: Scores) -> PerSample:
        """|E f(x) - E f(G(z))|^2."""
        return squared_mean((real - fake)[:, 1:])


def squared_mean(values: Tensor) -> PerSample:
    """Return sample i's share of |E v|^2, for the batch of all ranks: v_i times the mean; `values` is [n, k]."""
    return (values * samples_of_all_ranks(values).mean(0)).sum(1)
