"""The small values that cross borders between rooms of the house; the shapes of tensors come from `ganlab.shapes`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ganlab.shapes import Features as Features
    from ganlab.shapes import Images as Images
    from ganlab.shapes import Labels as Labels
    from ganlab.shapes import Latents as Latents
    from ganlab.shapes import Logits as Logits
    from ganlab.shapes import PerSample as PerSample
    from ganlab.shapes import Pixels as Pixels


SHAPES = frozenset({"Features", "Images", "Labels", "Latents", "Logits", "PerSample", "Pixels"})


def __getattr__(name: str) -> Any:
    """Import the shapes when one is asked for: they alone need torch."""
    if name not in SHAPES:
        raise AttributeError(f"module 'ganlab.types' has no attribute {name!r}")
    from ganlab import shapes

    return getattr(shapes, name)


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
