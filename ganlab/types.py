"""The shapes and small values that cross borders between rooms of the house."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int, UInt8
from torch import Tensor

Images = Float[Tensor, "n channels height width"]
"""Images in [-1, 1]."""
Latents = Float[Tensor, "n latent"]
Labels = Int[Tensor, " n"]
"""Classes as int64, -1 where there is none."""
Logits = Float[Tensor, " n"]
PerSample = Float[Tensor, " n"]
"""One number a sample: a loss or a penalty before its mean is taken."""
Pixels = UInt8[Tensor, "n channels height width"]
"""Images as bytes."""
Features = Float[Tensor, "_ dims"]
"""What an extractor makes of images."""


Precision = Literal["fp64", "fp32", "tf32", "bf16", "fp16"]
"""Of the networks' arithmetic."""


class UserError(ValueError):
    """A mistake that a person can mend: the message says where, what was found and what to write instead."""


@dataclass(frozen=True)
class ImageSpec:
    """What a dataset promises of its images, and all that a network may know of them."""

    height: int
    width: int
    channels: int
    """1 (grey), 3 (RGB) or 4 (RGBA)."""
    classes: int = 0
    """Number of classes; 0 means without labels."""

    def __str__(self) -> str:
        labels = f"{self.classes} classes" if self.classes else "no labels"
        return f"{self.height}x{self.width}, {self.channels} channel{'s' * (self.channels > 1)}, {labels}"


@dataclass(frozen=True)
class Phase:
    """What the moves take from some moment on: how large the reals are, and how many."""

    from_nimg: int
    image: ImageSpec
    batch: int | None = None
    """Reals in one discriminator move, over all ranks; None where the model has no opinion."""
