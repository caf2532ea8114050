"""What the images of both players pass through on their way to the discriminator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ganlab.seeding import Noise
from ganlab.types import Images


@runtime_checkable  # so that `ganlab.experiment.parts` can tell who is one
class Augment(Protocol):
    """A random, differentiable change of images, of one kind for reals and fakes; its noise is from `seeding`."""

    def draw(self, n: int, noise: Noise, name: str) -> dict[str, Tensor]:
        """Draw the random numbers for `n` images, from `noise` under `name`."""
        ...

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Return the images changed as drawn."""
        ...


@dataclass(frozen=True)
class MirrorFlip(Augment):
    """Mirror every second image, left to right, at random."""

    def draw(self, n: int, noise: Noise, name: str) -> dict[str, Tensor]:
        """Draw a coin for each image."""
        return {"flip": noise.uniform(f"{name} flip", n, 1, 1, 1) < 0.5}

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Flip each image with probability one half."""
        return torch.where(drawn["flip"], images.flip(3), images)


def drawn(augment: Augment | None, n: int, noise: Noise, player: str) -> dict[str, Tensor]:
    """Draw for the reals and the fakes of a player's step, under names that `augmented` knows."""
    if augment is None:
        return {}
    return {
        f"augment {kind} {name}": values
        for kind in ("real", "fake")
        for name, values in augment.draw(n, noise, f"{player} {kind}").items()
    }


def augmented(augment: Augment | None, images: Images, tensors: Mapping[str, Tensor], kind: str) -> Images:
    """Augment images with what `drawn` has drawn for their kind, `real` or `fake`."""
    if augment is None:
        return images
    return augment(images, {name.removeprefix(f"augment {kind} "): values for name, values in tensors.items()})
