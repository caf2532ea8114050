"""Grids against torchvision's."""

import numpy as np
import pytest
import torch
from torchvision.utils import make_grid

from ganlab.pictures.grids import grid, grid_by_class, to_pil


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("n", "columns", "size"), [(1, 8, 4), (7, 3, 60), (8, 8, 16), (9, 4, 31)])
def test_a_grid_is_torchvisions_of_the_enlarged_images(n: int, columns: int, size: int, channels: int) -> None:
    images = torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8)
    enlarge = max(1, -(-48 // size))
    cells = images.repeat_interleave(enlarge, dim=2).repeat_interleave(enlarge, dim=3)
    theirs = make_grid(cells, nrow=columns, padding=2, pad_value=255).permute(1, 2, 0).numpy()
    if n == 1:  # torchvision leaves a single image without an edge
        theirs = np.pad(theirs, ((2, 2), (2, 2), (0, 0)), constant_values=255)
    assert np.array_equal(np.asarray(grid(images, columns)), theirs)


def test_a_row_for_each_class() -> None:
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(-1, -1, 48, 48)
    pixels = np.asarray(grid_by_class(images, 2))[25::50, 25::50, 0]
    assert pixels.tolist() == [[0, 2, 4], [1, 3, 255]]


def test_one_picture() -> None:
    image = torch.randint(0, 256, (3, 5, 4), dtype=torch.uint8)
    assert np.array_equal(np.asarray(to_pil(image)), image.permute(1, 2, 0).numpy())
