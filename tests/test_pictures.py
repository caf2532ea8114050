"""Grids against torchvision's, and plots by their pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import make_grid

from ganlab.pictures import points as plane
from ganlab.pictures.axes import BOTTOM, FAKE, LEFT, REAL, RIGHT, TOP, round_up, ticks
from ganlab.pictures.captions import MARGIN
from ganlab.pictures.densities import densities
from ganlab.pictures.grids import grid, grid_by_class, to_pil
from ganlab.pictures.points import HIGH, LOW, scatter
from ganlab.pictures.tiles import fitting


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


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(16, 16, 10), (256, 256, 10), (512, 512, 7), (1024, 1024, 3), (2048, 1024, 1), (5000, 5000, 1)],
)
def test_a_grid_of_a_run_has_at_most_4096_px_a_side(height: int, width: int, expected: int) -> None:
    rows, columns = (min(most, 10) for most in fitting(height, width, MARGIN))
    assert rows == expected
    enlarge = max(1, -(-48 // min(height, width)))
    assert rows == 1 or max(rows * (enlarge * height + 2) + 2, columns * (enlarge * width + 2) + 2 + MARGIN) <= 4096


def test_one_picture() -> None:
    image = torch.randint(0, 256, (3, 5, 4), dtype=torch.uint8)
    assert np.array_equal(np.asarray(to_pil(image)), image.permute(1, 2, 0).numpy())


# --- plots


def test_ticks_are_round_numbers() -> None:
    assert ticks(-4.0, 4.0) == [-4, -2, 0, 2, 4] and ticks(0.0, 1.28) == [0, 0.5, 1] and ticks(-0.5, 0.5)[0] == -0.4
    assert [round_up(value) for value in (0.03, 1.0, 1.1, 2.4, 70.0)] == [0.05, 1, 2, 5, 100]


def place(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[float, float]:
    """The middle of all pixels of a colour inside of the box, as shares of it from left and from below."""
    box = picture.crop((LEFT + 1, TOP + 1, 512 - RIGHT - 1, 512 - BOTTOM - 1))
    rows, columns = np.nonzero(np.abs(np.asarray(box).astype(int) - colour).sum(-1) < 60)
    return columns.mean() / box.width, 1 - rows.mean() / box.height


def test_points_lie_where_they_are() -> None:
    real, fake = np.array([[-2.0, 1.0]]).repeat(50, 0), np.array([[3.0, -3.0]]).repeat(50, 0)
    drawn = scatter(real, fake, extent=4.0, title="two points")
    assert drawn.size == (512, 512)
    assert place(drawn, REAL) == pytest.approx((2 / 8, 5 / 8), abs=0.01)
    assert place(drawn, FAKE) == pytest.approx((7 / 8, 1 / 8), abs=0.01)


def test_level_sets_and_arrows_follow_d() -> None:
    places = plane.where(2.0)
    drawn = np.asarray(
        scatter(places[:1] * 0, places[:1] * 0, places[:, 0] / 2, extent=2.0, title="D rises to the right")
    )
    row = drawn[TOP + 3, LEFT + 3 : 512 - RIGHT - 3].astype(int)  # above the first arrows
    assert tuple(row[5]) == pytest.approx(LOW, abs=12) and tuple(row[-5]) == pytest.approx(HIGH, abs=12)
    dark = np.flatnonzero(row.sum(-1) < 450)
    assert dark.mean() / len(row) == pytest.approx(0.5, abs=0.01) and len(dark) <= 3
    assert len({tuple(pixel) for pixel in row[10:200].tolist()}) <= 14  # bands, not a slope


def test_densities_are_histograms() -> None:
    values = np.repeat([1.0, 3.0], [300, 100])
    drawn = np.asarray(densities(values, values[:0], extent=4.0, title="").convert("L")).astype(int)
    box = drawn[TOP + 1 : 512 - BOTTOM - 1, LEFT + 1 : 512 - RIGHT - 1]
    heights = [(box[:, round((x + 4) / 8 * box.shape[1]) + 1] < 245).sum() / box.shape[0] for x in (1.0, 3.0, -2.0)]
    assert heights == pytest.approx([1 / 1.6, 1 / 3 / 1.6, 0], abs=0.02)
