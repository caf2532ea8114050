"""Augmentation of the images that the discriminator sees, in both players' steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ganlab.seeding import Noise
from ganlab.types import Images


@runtime_checkable  # for `ganlab.experiment.parts`, which checks classes against it
class Augment(Protocol):
    """A random, differentiable change of images, the same kind for reals and fakes; its noise is from `seeding`."""

    def draw(self, n: int, noise: Noise, name: str) -> dict[str, Tensor]:
        """Draw the random numbers for `n` images, from `noise` under `name`."""
        ...

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Return the images, changed as drawn."""
        ...


@dataclass(frozen=True)
class MirrorFlip(Augment):
    """Mirror each image, left to right, with probability one half."""

    def draw(self, n: int, noise: Noise, name: str) -> dict[str, Tensor]:
        """Draw one coin flip per image."""
        return {"flip": noise.uniform(f"{name} flip", n, 1, 1, 1) < 0.5}

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Flip the images whose coin says so."""
        return torch.where(drawn["flip"], images.flip(3), images)


def drawn(augment: Augment | None, n: int, noise: Noise, player: str) -> dict[str, Tensor]:
    """Draw for the reals and the fakes of a player's step, under the names that `augmented` reads."""
    if augment is None:
        return {}
    return {
        f"augment {kind} {name}": values
        for kind in ("real", "fake")
        for name, values in augment.draw(n, noise, f"{player} {kind}").items()
    }


def augmented(augment: Augment | None, images: Images, tensors: Mapping[str, Tensor], kind: str) -> Images:
    """Augment images with the tensors of `drawn` for their kind, `real` or `fake`."""
    if augment is None:
        return images
    return augment(images, {name.removeprefix(f"augment {kind} "): values for name, values in tensors.items()})
