"""Augmentations of one operation: mirroring and noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganlab.augment.base import Augment
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import Images


@dataclass(frozen=True)
class MirrorFlip(Augment):
    """Mirror each image, left to right, with probability one half."""

    def draw(self, shape: Sequence[int], noise: Noise, name: str, memory: Tensor | None = None) -> dict[str, Tensor]:
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

    def draw(self, shape: Sequence[int], noise: Noise, name: str, memory: Tensor | None = None) -> dict[str, Tensor]:
        """Draw noise with the deviation of the moment."""
        std = self.std(noise.nimg) if isinstance(self.std, Schedule) else self.std
        return {"noise": std * noise.normal(f"{name} noise", *shape)}

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Add the noise."""
        return images + drawn["noise"]
