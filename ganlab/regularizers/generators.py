"""Penalties on how a generator's images change with its latents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganlab.regularizers.base import Point, Regularizer, given, input_gradient, norm
from ganlab.regularizers.outputs import follow
from ganlab.types import PerSample


@dataclass(frozen=True, kw_only=True)
class JacobianClamping(Regularizer):
    """Keep the ratio of distances between images and between their latents in bounds (Odena et al. 2018, algorithm 1).

    The second latent is `step` away in a random direction: a secant, not a derivative. The bounds depend on the scale
    of images and on the dimensions of the latent.
    """

    step: float = 1.0
    least: float = 1.0
    most: float = 20.0

    at = ("latents",)
    gradient, full, noise = False, True, "latents"

    def penalty(self, point: Point) -> PerSample:
        """(max(Q, most) - most)^2 + (min(Q, least) - least)^2 for Q = |G(z) - G(z')| / |z - z'|."""
        noise = given(point.noise)
        moved = self.step * noise / norm(noise)[:, None]
        ratio = norm(point.network(point.inputs[0] + moved, *point.inputs[1:]) - point.output) / self.step
        return (ratio - self.most).relu().square() + (self.least - ratio).relu().square()


@dataclass(frozen=True, kw_only=True)
class PathLength(Regularizer):
    """Keep the length of an image's step for a step of its latent near its running mean (Karras et al. 2020, eq. 4).

    The length is that of the gradient of <G(z), y> / sqrt(pixels) by the latent, y normal; of a latent for each layer
    [n, layers, d], the root mean square over layers. It makes a pass of its own; the running mean is the one before
    the step, and begins at 0. Their weight is 2, at every 4th step.
    """

    decay: float = 0.99

    at = ("latents",)
    gradient, own_gradient, full, noise = False, True, True, "real"

    def penalty(self, point: Point) -> tuple[PerSample, Mapping[str, PerSample]]:
        """(|J^T y| - its mean)^2; records the lengths."""
        noise = given(point.noise)
        direction = noise / (noise.shape[-1] * noise.shape[-2]) ** 0.5

        def along(*inputs: Tensor) -> Tensor:
            total: Tensor = (point.network(*inputs) * direction).flatten(1).sum(1)
            return total

        gradient, _ = input_gradient(along, *point.inputs)
        length = norm(gradient) / (gradient[0].numel() / gradient.shape[-1]) ** 0.5
        return (length - given(point.memory)).square(), {"length": length}

    def memory(self, weights: Sequence[Tensor]) -> Tensor:
        """The running mean []."""
        return torch.zeros((), dtype=weights[0].dtype)

    def remember(self, memory: Tensor, found: Mapping[str, Tensor], weights: Sequence[Tensor], steps: int) -> None:
        """Let the mean follow the batch's, where the step has one."""
        if "length" in found:
            follow(memory, found["length"].mean(), self.decay)


class ModeSeeking(Regularizer):
    """Push the images of two latents of one class apart (Mao et al. 2019); their weight is 1."""

    at = ("latents",)
    gradient, full, noise = False, True, "latents"

    def penalty(self, point: Point) -> PerSample:
        """1 / (d(G(z), G(z')) / d(z, z')), d the mean absolute difference."""
        second = given(point.noise)
        images = (point.network(second, *point.inputs[1:]) - point.output).abs().flatten(1).mean(1)
        apart: Tensor = (second - point.inputs[0]).abs().mean(1)
        return 1 / (images / apart + 1e-5)
