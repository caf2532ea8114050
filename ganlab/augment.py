"""What the images of both players pass through on their way to the discriminator."""

from typing import Protocol, runtime_checkable

import torch

from ganlab.seeding import Noise
from ganlab.types import Images


@runtime_checkable  # so that `ganlab.parts` can tell who is one
class Augment(Protocol):
    """A random, differentiable change of images, of one kind for reals and fakes; its noise is from `seeding`."""

    def __call__(self, images: Images, noise: Noise, name: str) -> Images:
        """Return the images changed; draw from `noise` under `name`."""
        ...


class MirrorFlip(Augment):
    """Mirror every second image, left to right, at random."""

    def __call__(self, images: Images, noise: Noise, name: str) -> Images:
        """Flip each image with probability one half."""
        flip = noise.uniform(f"{name} flip", len(images), 1, 1, 1) < 0.5
        return torch.where(flip, images.flip(3), images)
