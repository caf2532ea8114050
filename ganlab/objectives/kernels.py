"""Kernels of two samples' features, as functions of their squared distance."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable  # for `ganlab.experiment.parts`, which checks classes against it
class Kernel(Protocol):
    """A similarity k(u, v); the maximum mean discrepancy is 0 only for equal distributions if it is characteristic."""

    def __call__(self, squares: Tensor) -> Tensor:
        """Map squared distances |u - v|^2 to k(u, v), of the same shape."""
        ...


@dataclass(frozen=True, kw_only=True)
class GaussianKernel(Kernel):
    """Sum of Gaussians of several widths (Li et al. 2015; Li et al. 2017 has these widths)."""

    widths: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)

    def __call__(self, squares: Tensor) -> Tensor:
        """The sum of exp(-|u - v|^2 / (2 width^2))."""
        return sum_of([(squares / (-2 * width**2)).exp() for width in self.widths])


@dataclass(frozen=True, kw_only=True)
class RationalQuadraticKernel(Kernel):
    """Sum of rational quadratics, whose tails are heavier than a Gaussian's (Binkowski et al. 2018, section 2.1)."""

    scales: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)

    def __call__(self, squares: Tensor) -> Tensor:
        """The sum of (1 + |u - v|^2 / (2 scale))^-scale."""
        return sum_of([(1 + squares / (2 * scale)) ** -scale for scale in self.scales])


@dataclass(frozen=True)
class DistanceKernel(Kernel):
    """Minus the distance: the discrepancy is the energy distance (Sejdinovic et al. 2013)."""

    def __call__(self, squares: Tensor) -> Tensor:
        """-|u - v|."""
        return -(squares + 1e-12).sqrt()  # at 0 the root has no derivative


def sum_of(terms: list[Tensor]) -> Tensor:
    """Add tensors of one shape."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
