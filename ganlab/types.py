"""Small values that all packages share; the shapes of tensors come from `ganlab.shapes`."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ganlab.shapes import Features as Features
    from ganlab.shapes import Images as Images
    from ganlab.shapes import Labels as Labels
    from ganlab.shapes import Latents as Latents
    from ganlab.shapes import Logits as Logits
    from ganlab.shapes import PerSample as PerSample
    from ganlab.shapes import Pixels as Pixels
    from ganlab.shapes import Scores as Scores
    from ganlab.shapes import Vectors as Vectors


SHAPES = frozenset({"Features", "Images", "Labels", "Latents", "Logits", "PerSample", "Pixels", "Scores", "Vectors"})


def __getattr__(name: str) -> Any:
    """Import the shapes on first use: only they need torch."""
    if name not in SHAPES:
        raise AttributeError(f"module 'ganlab.types' has no attribute {name!r}")
    from ganlab import shapes

    return getattr(shapes, name)


Precision = Literal["fp64", "fp32", "tf32", "bf16", "fp16"]
"""Precision of the networks' arithmetic."""


IN_ORDER = ("real", "labels", "vectors")
"""Names of the tensors of a loader's batch that comes as a sequence."""


class UserError(ValueError):
    """A mistake that the user can fix: the message names the place, the value found and what to write instead."""


@dataclass(frozen=True)
class ImageSpec:
    """Shape and classes of a dataset's images: all that a network is built from."""

    height: int
    width: int
    channels: int
    """1 (grey), 3 (RGB) or 4 (RGBA); of a point, an image of one pixel, its coordinates."""
    classes: int = 0
    """Number of classes; 0 means no labels."""
    class_names: tuple[str, ...] = field(default=(), compare=False)
    """Names of the classes in order; empty if they only have numbers."""

    @property
    def is_point(self) -> bool:
        """Whether an image is one pixel: a point, whose channels are its coordinates."""
        return self.height == self.width == 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width: the shape of one image's tensor."""
        return self.channels, self.height, self.width

    def scaled(self, height: int, of: int) -> "ImageSpec":
        """Return the spec of these images at the size that makes `of` rows `height`."""
        return replace(self, height=self.height * height // of, width=self.width * height // of)

    def __str__(self) -> str:
        labels = f"{self.classes} classes" if self.classes else "no labels"
        return f"{self.height}x{self.width}, {self.channels} channel{'s' * (self.channels > 1)}, {labels}"


def px(height: int, width: int) -> str:
    """Write a size as a person does: 64 for a square, else 96x64."""
    return str(height) if height == width else f"{height}x{width}"


@dataclass(frozen=True)
class Phase:
    """Size and batch of the reals from `from_nimg` images on."""

    from_nimg: int
    image: ImageSpec
    batch: int | None = None
    """Reals in a round, over all ranks; None if the model does not set it."""
