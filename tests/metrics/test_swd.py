"""The sliced Wasserstein distance against SciPy, and what it must and must not see."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import wasserstein_distance

from ganlab.metrics import swd

pytestmark = pytest.mark.usefixtures("one_thread")


def images(n: int, size: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_pyramid_is_scipy_s() -> None:
    picture = images(1, 64, 0).float()
    kernel = np.outer(swd.BLUR, swd.BLUR)
    x, expected = picture[0].numpy(), []
    for _ in range(2):
        blurred = np.stack([ndimage.convolve(channel, kernel, mode="mirror") for channel in x])
        wide = np.zeros_like(x)
        wide[:, ::2, ::2] = blurred[:, ::2, ::2]
        expected.append(x - np.stack([ndimage.convolve(channel, 4 * kernel, mode="mirror") for channel in wide]))
        x = blurred[:, ::2, ::2]
    levels = swd.laplacian_pyramid(picture)
    assert [level.shape[-1] for level in levels] == [64, 32, 16]
    for level, other in zip(levels, [*expected, x], strict=True):
        np.testing.assert_allclose(level[0], other, atol=2e-4)


def test_sizes_that_cannot_be_halved_have_fewer_levels() -> None:
    sizes = {
        size: [x.shape[-1] for x in swd.laplacian_pyramid(torch.zeros(1, 1, size, size))] for size in (28, 100, 17)
    }
    assert sizes == {28: [28], 100: [100, 50, 25], 17: [17]}


def test_patches_are_cut_from_the_levels() -> None:
    picture = images(2, 32, 0)
    fine, coarse = swd.descriptors(picture, seed=3)
    assert fine.shape == coarse.shape == (2 * 128, 3, 7, 7)
    level = swd.laplacian_pyramid(picture.float())[0]
    windows = level.unfold(2, 7, 1).unfold(3, 7, 1).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)  # n places c 7 7
    for image in range(2):
        for patch in fine.view(2, 128, 3, 7, 7)[image, :5]:
            assert (windows[image] == patch).flatten(1).all(1).any()
    assert not torch.equal(fine[0], swd.descriptors(picture, seed=4)[0][0])


def test_distance_is_the_mean_of_scipy_s_over_directions() -> None:
    a, b = swd.descriptors(images(3, 32, 0), 0)[0], swd.descriptors(images(3, 32, 1) // 2, 0)[0] ** 2
    found = swd.sliced_wasserstein(a, b, seed=5)
    assert found == swd.sliced_wasserstein(a, b, seed=5) != swd.sliced_wasserstein(a, b, seed=6)
    normal = [
        ((x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, correction=0)).flatten(1)
        for x in (a, b)
    ]
    directions = torch.randn(147, 2000, generator=torch.Generator().manual_seed(0))
    directions /= directions.norm(dim=0)
    left, right = (x @ directions for x in normal)
    expected = [wasserstein_distance(left[:, k].numpy(), right[:, k].numpy()) for k in range(2000)]
    assert found == pytest.approx(1e3 * np.mean(expected), rel=0.02)  # 512 directions against 2,000 others
    assert swd.sliced_wasserstein(a, a.flip(0)) == pytest.approx(0, abs=1e-3)
    assert swd.sliced_wasserstein(a, 3 * a + 7) == pytest.approx(0, abs=1e-2)  # both are brought to mean 0, deviation 1
