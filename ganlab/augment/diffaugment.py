"""DiffAugment: Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganlab.augment.base import Augment
from ganlab.seeding import Noise
from ganlab.types import Images, UserError


@dataclass(frozen=True, kw_only=True)
class DiffAugment(Augment):
    """Colours, a shift and a grey box, all of them for every image: the values of the paper's code.

    Args:
        colour: change brightness, saturation and contrast.
        translation: largest shift as a share of the side; 0 for none.
        cutout: side of the grey box as a share of the image's; 0 for none.
    """

    colour: bool = True
    translation: float = 0.125
    cutout: float = 0.5

    def __post_init__(self) -> None:
        for name, share in (("translation", self.translation), ("cutout", self.cutout)):
            if not 0 <= share <= 1:
                raise UserError(
                    f"model.augment.{name}: {share}: a share of the image's side, in [0, 1]; 0 leaves it out"
                )

    def draw(self, shape: Sequence[int], noise: Noise, name: str, memory: Tensor | None = None) -> dict[str, Tensor]:
        """Draw brightness, saturation, contrast, and the places of the image and of the box, in [0, 1)."""
        return {"uniform": noise.uniform(name, shape[0], 7)}

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Change colours, then the place, then cover a box."""
        brightness, saturation, contrast, *places = drawn["uniform"].unbind(1)
        if self.colour:
            images = recoloured(images, *(u.view(-1, 1, 1, 1) for u in (brightness, saturation, contrast)))
        if self.translation:
            images = shifted(images, places[0], places[1], self.translation)
        return covered(images, places[2], places[3], self.cutout) if self.cutout else images


def recoloured(images: Images, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Images:
    """Add up to 0.5; move each pixel from its grey by a factor up to 2; and from the image's mean, 0.5 to 1.5."""
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + 2 * saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (0.5 + contrast) * (images - mean)


def shifted(images: Images, x: Tensor, y: Tensor, share: float) -> Images:
    """Shift images by whole pixels, up to a share of their sides; 0 comes in."""
    for u, dim in ((y, 2), (x, 3)):
        size = images.shape[dim]
        most = int(share * size + 0.5)
        by = (u * (2 * most + 1)).long() - most  # n
        at = torch.arange(size, device=images.device) - by[:, None]  # n size: where each pixel comes from
        view = (-1, 1, size, 1) if dim == 2 else (-1, 1, 1, size)
        moved = images.gather(dim, at.clamp(0, size - 1).view(view).expand(images.shape))
        images = torch.where(((at >= 0) & (at < size)).view(view), moved, torch.zeros_like(moved))
    return images


def covered(images: Images, x: Tensor, y: Tensor, share: float) -> Images:
    """Set a box to 0. Its centre is anywhere; what is beyond the image falls on the border, as in the code."""
    rows, columns = (box(u, size, share) for u, size in ((y, images.shape[2]), (x, images.shape[3])))
    return torch.where(rows[:, None, :, None] & columns[:, None, None], torch.zeros_like(images), images)


def box(u: Tensor, size: int, share: float) -> Tensor:
    """Return which pixels of a side a box covers [n, size]."""
    side = int(share * size + 0.5)
    start = (u * (size + 1 - side % 2)).long() - side // 2
    first, last = (at.clamp(0, size - 1)[:, None] for at in (start, start + side - 1))
    pixels = torch.arange(size, device=u.device)
    return (pixels >= first) & (pixels <= last)
