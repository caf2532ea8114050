"""Image tensors as bytes and as grids."""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from ganlab.pictures.captions import beside
from ganlab.pictures.densities import densities
from ganlab.pictures.points import scatter
from ganlab.pictures.tiles import picture, tile


def to_uint8(images: Tensor) -> Tensor:
    """Convert float images in [-1, 1] to bytes: clip and round, without stretching to the batch's range."""
    return images.float().mul(127.5).add(127.5).clamp(0, 255).round().to(torch.uint8)


def grid(images: Tensor, columns: int) -> Image.Image:
    """Tile uint8 images [n, 1 or 3 or 4, height, width], row by row; draw points, images of one pixel, as dots."""
    if images.shape[2:] == (1, 1):
        return plane(images.cpu()[:, :, 0, 0])
    return tile(images.cpu().permute(0, 2, 3, 1).numpy(), columns)


def plane(points: Tensor) -> Image.Image:
    """Draw points [n, coordinates], bytes of [-1, 1], by their density, or by their first two coordinates."""
    places, title = (points / 127.5 - 1).numpy(), f"{len(points):,} points, divided by their extent"
    if places.shape[1] == 1:
        return densities(places[:0, 0], places[:, 0], extent=1.0, title=title)
    return scatter(places[:0, :2], places[:, :2], extent=1.0, title=title)


def grid_by_class(images: Tensor, classes: int, captions: Sequence[str] = ()) -> Image.Image:
    """Tile uint8 images whose classes are 0, 1, ..., 0, 1, ...: one row per class, filled up with white.

    Image r + c * classes is in row r, column c. `captions` stand at the left of the rows.
    """
    if images.shape[2:] == (1, 1):
        return grid(images, classes)
    full = pad(images, (0, 0) * 3 + (0, -len(images) % classes), value=255)
    by_class = full.unflatten(0, (-1, classes)).transpose(0, 1).flatten(0, 1)
    return beside(grid(by_class, len(full) // classes), captions)


def grid_by_title(parts: Mapping[str, Tensor], columns: int) -> Image.Image:
    """Tile uint8 images [n, c, height, width] of one size by their titles: image i of each part in one column.

    Each part is a row with its title at the left; a band of these rows holds `columns` images. Grey parts are drawn as
    RGB beside parts of colour.
    """
    coloured = any(images.shape[1] > 1 for images in parts.values())
    full = [images.expand(-1, 3, -1, -1) if coloured and images.shape[1] == 1 else images for images in parts.values()]
    columns = min(columns, len(full[0]))
    bands = torch.stack([pad(images, (0, 0) * 3 + (0, -len(images) % columns), value=255) for images in full])
    rows = bands.unflatten(1, (-1, columns)).transpose(0, 1)  # bands titles columns c h w
    return beside(grid(rows.flatten(0, 2), columns), [*parts] * len(rows))


def to_pil(image: Tensor) -> Image.Image:
    """Convert one uint8 image [1 or 3 or 4, height, width] to a PIL image."""
    return picture(image.cpu().permute(1, 2, 0).numpy())
