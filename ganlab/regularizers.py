"""Terms added to the discriminator's loss: penalties on its input gradient or its logits."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ganlab.types import Images, Logits, PerSample


def input_gradient(score: Callable[[Images], Logits], images: Images) -> tuple[Images, Logits]:
    """Return the gradient of each logit by its own image, and the logits of the same forward pass.

    Through `torch.func.grad`, so that the penalty and the loss can be compiled as one graph. `score` must be plain
    differentiable operations: no `autograd.Function`, no buffer written in forward.
    """

    def total(images: Tensor) -> tuple[Tensor, Tensor]:
        logits = score(images)
        return logits.sum(), logits

    gradient, logits = torch.func.grad(total, has_aux=True)(images)
    return gradient, logits


class Regularizer(ABC):
    """`weight * penalty`, the penalty as the paper writes it; with `every: k` at every k-th move, k times as strong."""

    at: ClassVar[Literal["real", "fake", "between"]]
    """The images it looks at: `between` is a random point on the line from each real to its fake."""
    of: ClassVar[Literal["gradient", "logits"]] = "gradient"
    """What of them it is computed from: the gradient of each logit by its image [n, c, h, w], or the logits [n]."""

    def __init__(self, *, weight: float, every: int = 1) -> None:
        self.weight, self.every = weight, every

    @abstractmethod
    def penalty(self, values: Tensor) -> PerSample:
        """Return the penalty of every sample, computed from what `of` names."""

    def term(self, values: Tensor) -> PerSample:
        """Return what is added to the loss of every sample in a move at which the penalty is due."""
        return self.weight * self.every * self.penalty(values)


class R1(Regularizer):
    """Half the squared norm of the gradient at real images (Mescheder et al. 2018, eq. 9; their gamma is `weight`)."""

    at = "real"

    def penalty(self, values: Tensor) -> PerSample:
        """|grad D(x)|^2 / 2."""
        return values.square().sum((1, 2, 3)) / 2


class R2(Regularizer):
    """Half the squared norm of the gradient at generated images (Mescheder et al. 2018, eq. 10)."""

    at = "fake"

    def penalty(self, values: Tensor) -> PerSample:
        """|grad D(G(z))|^2 / 2."""
        return values.square().sum((1, 2, 3)) / 2


class GradientPenalty(Regularizer):
    """Squared distance of the gradient's norm from 1, between reals and fakes (Gulrajani et al. 2017, eq. 3).

    Their lambda, 10, is `weight`. Each pair has a mixing weight of its own.
    """

    at = "between"

    def penalty(self, values: Tensor) -> PerSample:
        """(|grad D(x)| - 1)^2."""
        # At a gradient of exactly 0 the norm has no derivative, and autograd would give NaN.
        norm = (values.square().sum((1, 2, 3)) + 1e-12).sqrt()
        return (norm - 1).square()


class Drift(Regularizer):
    """Squared logit of real images, which keeps a Wasserstein critic near zero (Karras et al. 2018, appendix A.1).

    Their epsilon, 0.001, is `weight`.
    """

    at = "real"
    of = "logits"

    def penalty(self, values: Tensor) -> PerSample:
        """D(x)^2."""
        return values.square()
