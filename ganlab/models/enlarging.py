"""What games of super-resolution share: real images are made small, and enlarged by bicubic interpolation and more."""

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.engine.game import Game
from ganlab.types import Images, ImageSpec, Labels


class Enlarging(Game):
    """A game whose first average, a generator, adds what a bicubic enlargement lacks."""

    scale: int
    """Of the sides."""

    def shrink(self, images: Images) -> Tensor:
        """Average squares of pixels."""
        return F.avg_pool2d(images, self.scale)

    def enlarge(self, generator: partial[Tensor] | nn.Module, small: Images) -> Tensor:
        """Add what a generator makes to a bicubic enlargement."""
        return bicubic(small, self.scale) + generator(small)

    @property
    def inputs(self) -> tuple[ImageSpec, ...]:
        """Large images, which are made small first, or small ones."""
        return self.image, self.image.scaled(1, of=self.scale)

    def made_from(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return the enlarged image, beside the small one, its bicubic enlargement and, if it is known, the truth."""
        large = images.shape[2] == self.image.height
        small = self.shrink(images) if large else images
        parts = {"input": F.interpolate(small, scale_factor=self.scale), "made": self.enlarge(self.ema, small)}
        return parts | {"bicubic": bicubic(small, self.scale)} | ({"truth": images} if large else {})


def bicubic(images: Images, scale: int) -> Tensor:
    """Enlarge images by bicubic interpolation."""
    return F.interpolate(images, scale_factor=scale, mode="bicubic")
