"""Images as people see them: bytes, grids and PNG files."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.utils import make_grid

from ganlab.files import atomic_write

SMALLEST_CELL = 48
"""Pixels: smaller images are enlarged by a whole factor in a grid, so that a person can see them."""


def to_uint8(images: Tensor) -> Tensor:
    """Turn float images in [-1, 1] into bytes: clip, then round, never a stretch to the batch's own range."""
    return images.float().mul(127.5).add(127.5).clamp(0, 255).round().to(torch.uint8)


def grid(images: Tensor, columns: int) -> Image.Image:
    """Tile uint8 images [n, 1 or 3 or 4, height, width], row by row."""
    enlarge = max(1, -(-SMALLEST_CELL // images.shape[-1]))
    cells = images.repeat_interleave(enlarge, dim=2).repeat_interleave(enlarge, dim=3)
    return to_pil(make_grid(cells.cpu(), nrow=columns, padding=2, pad_value=255))


def grid_by_class(images: Tensor, classes: int) -> Image.Image:
    """Tile uint8 images that take turns in so many classes, a row for each class; white where one has fewer."""
    full = pad(images, (0, 0) * 3 + (0, -len(images) % classes), value=255)
    return grid(full.unflatten(0, (-1, classes)).transpose(0, 1).flatten(0, 1), len(full) // classes)


def to_pil(image: Tensor) -> Image.Image:
    """Make a picture of one uint8 image [1 or 3 or 4, height, width]."""
    pixels = image.cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a PNG that is whole or not there."""
    with atomic_write(path) as file:
        picture.save(file, format="PNG")
