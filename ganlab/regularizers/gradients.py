"""Penalties on the gradient of a discriminator's logit by the image: they differentiate twice.

`differences.py` has forms that do not.
"""

from dataclasses import dataclass

from torch import sigmoid

from ganlab.regularizers.base import Point, Regularizer, given, input_gradient, norm, squared_norm
from ganlab.types import PerSample


class R1(Regularizer):
    """Half the squared norm of the gradient at real images (Mescheder et al. 2018, eq. 9; their gamma is `weight`).

    Their code leaves out the half: its `reg_param` 10 is a weight of 20.
    """

    at = ("real",)

    def penalty(self, point: Point) -> PerSample:
        """|grad D(x)|^2 / 2."""
        return squared_norm(point.gradient) / 2


class R2(Regularizer):
    """Half the squared norm of the gradient at generated images (Mescheder et al. 2018, eq. 10)."""

    at = ("fake",)

    def penalty(self, point: Point) -> PerSample:
        """|grad D(G(z))|^2 / 2."""
        return squared_norm(point.gradient) / 2


class GradientPenalty(Regularizer):
    """Squared distance of the gradient's norm from 1, at interpolates (Gulrajani et al. 2017, eq. 3).

    Their lambda, 10, is `weight`. Each pair of real and fake has its own mixing weight.
    """

    at = ("interpolates",)

    def penalty(self, point: Point) -> PerSample:
        """(|grad D(x)| - 1)^2."""
        return (norm(point.gradient) - 1).square()


class LipschitzPenalty(Regularizer):
    """The one-sided form: only norms above 1 count (Petzka et al. 2018)."""

    at = ("interpolates",)

    def penalty(self, point: Point) -> PerSample:
        """max(0, |grad D(x)| - 1)^2."""
        return (norm(point.gradient) - 1).relu().square()


class ZeroCenteredPenalty(Regularizer):
    """The squared norm itself, at interpolates (Thanh-Tung et al. 2019; their weight is 100)."""

    at = ("interpolates",)

    def penalty(self, point: Point) -> PerSample:
        """|grad D(x)|^2."""
        return squared_norm(point.gradient)


@dataclass(frozen=True, kw_only=True)
class DRAGAN(Regularizer):
    """Squared distance of the gradient's norm from 1, at reals with noise around them (Kodali et al. 2017).

    The noise is normal. The authors' code adds a uniform one, scaled by the pixels' deviation over the batch; its root
    mean square is a sixth of that, about 0.08 for images in [-1, 1].
    """

    std: float = 0.08

    at = ("real",)
    gradient, own_gradient, full, noise = False, True, True, "real"

    def penalty(self, point: Point) -> PerSample:
        """(|grad D(x + noise)| - 1)^2."""
        around = point.inputs[0] + self.std * given(point.noise)
        gradient, _ = input_gradient(point.network, around, *point.inputs[1:])
        return (norm(gradient) - 1).square()


class JSRegularizer(Regularizer):
    """What noise on both kinds of images adds to the logistic loss, to first order (Roth et al. 2017).

    `weight` is the noise's variance, their gamma: 0.1 for toys, 2 for images, lowered to a hundredth along the run.
    """

    at = ("real", "fake")

    def penalty(self, point: Point) -> PerSample:
        """(1 - D(x))^2 |grad logit(x)|^2 / 2, and D(G(z))^2 |grad logit(G(z))|^2 / 2, where D is a probability."""
        wrong = sigmoid(-point.output if point.at == "real" else point.output)
        return wrong.square() * squared_norm(point.gradient) / 2
