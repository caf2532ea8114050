"""Augmentation of the images that the discriminator sees, in both players' steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import Images


@runtime_checkable  # for `ganlab.experiment.parts`, which checks classes against it
class Augment(Protocol):
    """A random, differentiable change of images, the same kind for reals and fakes; its noise is from `seeding`."""

    def draw(self, shape: Sequence[int], noise: Noise, name: str) -> dict[str, Tensor]:
        """Draw the random numbers for images of a shape, from `noise` under `name`; the time is `noise.nimg`."""
        ...

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Return the images, changed as drawn."""
        ...


@dataclass(frozen=True)
class MirrorFlip(Augment):
    """Mirror each image, left to right, with probability one half."""

    def draw(self, shape: Sequence[int], noise: Noise, name: str) -> dict[str, Tensor]:
        """Draw one coin flip per image."""
        return {"flip": noise.uniform(f"{name} flip", shape[0], 1, 1, 1) < 0.5}

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Flip the images whose coin says so."""
        return torch.where(drawn["flip"], images.flip(3), images)


@dataclass(frozen=True, kw_only=True)
class InstanceNoise(Augment):
    """Add normal noise, so that the distributions of reals and fakes overlap (Sonderby et al. 2017, section 3).

    With `std` a schedule that ends at 0 the noise goes as training goes on: `Linear(start=0.1, end=0.0)`.
    """

    std: float | Schedule

    def draw(self, shape: Sequence[int], noise: Noise, name: str) -> dict[str, Tensor]:
        """Draw noise with the deviation of the moment."""
        std = self.std(noise.nimg) if isinstance(self.std, Schedule) else self.std
        return {"noise": std * noise.normal(f"{name} noise", *shape)}

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Add the noise."""
        return images + drawn["noise"]


def drawn(augment: Augment | None, shape: Sequence[int], noise: Noise, player: str) -> dict[str, Tensor]:
    """Draw for reals and fakes of one shape in a player's step, under the names that `augmented` reads."""
    if augment is None:
        return {}
    return {
        f"augment {kind} {name}": values
        for kind in ("real", "fake")
        for name, values in augment.draw(shape, noise, f"{player} {kind}").items()
    }


def augmented(augment: Augment | None, images: Images, tensors: Mapping[str, Tensor], kind: str) -> Images:
    """Augment images with the tensors of `drawn` for their kind, `real` or `fake`."""
    if augment is None:
        return images
    return augment(images, {name.removeprefix(f"augment {kind} "): values for name, values in tensors.items()})
