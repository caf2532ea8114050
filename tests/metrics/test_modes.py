"""Metrics of points, of likelihood and of conditioning: each against a closed form, or a loop."""

import math

import pytest
import torch
from scipy.stats import kstest
from torch import nn

from ganlab.metrics.jacobian import jacobians, log_condition_numbers
from ganlab.metrics.mmd import gaussian_kernel, median_distance, squared_mmd, two_sample_test
from ganlab.metrics.modes import modes_of, reverse_kl
from ganlab.metrics.parzen import parzen_log_likelihood, windows
from ganlab.networks import dcgan, progressive, resnet
from ganlab.types import ImageSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([7, 7, 7], 0.0),
        ([9, 0, 0, 0], math.log(4)),
        ([1, 3], 0.25 * math.log(0.5) + 0.75 * math.log(1.5)),
        ([2, 2, 0, 0], math.log(2)),
    ],
)
def test_reverse_kl_of_known_histograms(counts: list[int], expected: float) -> None:
    assert reverse_kl(torch.tensor(counts)) == pytest.approx(expected, abs=1e-12)


def test_reverse_kl_of_samples_of_all_modes_has_its_floor() -> None:
    draw = torch.Generator().manual_seed(1)
    found = [reverse_kl(torch.randint(1000, (26_000,), generator=draw).bincount(minlength=1000)) for _ in range(40)]
    assert sum(found) / 40 == pytest.approx(999 / (2 * 26_000), rel=0.02)  # the .019 of stacked MNIST


def test_modes_of_points_put_by_hand() -> None:
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    points = torch.tensor([[0.0, 0.29], [0.0, -0.31], [4.2, 0.2], [4.0, 0.25], [1.9, 0.0], [1.0, 3.9]])
    found = modes_of(points, centres, std=0.1)
    assert found.covered == 2 and found.high_quality == pytest.approx(3 / 6)
    assert found.reverse_kl == pytest.approx(reverse_kl(torch.tensor([3, 2, 1])))


def test_a_mixtures_own_samples_are_of_high_quality() -> None:
    angle = torch.arange(8) * math.pi / 4
    centres = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    labels = torch.randint(8, (20_000,), generator=torch.Generator().manual_seed(0))
    found = modes_of(centres[labels] + 0.02 * normal(20_000, 2), centres, 0.02)
    assert found.covered == 8 and found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert found.reverse_kl < 1e-3


def test_parzen_windows_against_the_closed_form_of_a_gaussian() -> None:
    s = 0.3
    found = parzen_log_likelihood(normal(5000, 2), normal(200, 2, seed=1), normal(3000, 2, seed=2), [s])
    assert found.mean == pytest.approx(-math.log(2 * math.pi * (1 + s**2)) - 1 / (1 + s**2), abs=0.05)  # -2.8415
    deviation = windows(normal(5000, 2), normal(3000, 2, seed=2), [s]).std()
    assert found.standard_error == pytest.approx(float(deviation) / math.sqrt(3000), rel=1e-12)


def test_a_window_is_the_mean_of_its_gaussians_and_validation_chooses_it() -> None:
    samples, points = normal(30, 3), normal(20, 3, seed=1)
    by_hand = [
        math.log(sum(math.exp(-float((x - m).square().sum()) / 0.5) / (math.pi * 0.5) ** 1.5 for m in samples) / 30)
        for x in points
    ]
    torch.testing.assert_close(windows(samples, points, [0.5])[0], torch.tensor(by_hand, dtype=torch.float64))
    sigmas = [0.1, 0.3, 0.5, 1.0, 3.0]
    found = parzen_log_likelihood(samples, points, normal(10, 3, seed=2), sigmas)
    assert found.sigma == max(sigmas, key=lambda sigma: windows(samples, points, [sigma]).mean()) == 1.0


def test_mmd_of_two_gaussians_with_a_closed_form() -> None:
    """N(0, 1) and N(1, 1) under a kernel of width 1 (2 sqrt(1/3) (1 - exp(-1/6)) = .1773)."""
    found = torch.tensor(
        [squared_mmd(normal(500, 1, seed=k), 1 + normal(500, 1, seed=99 + k), [1.0]) for k in range(9)]
    )
    assert found.mean() == pytest.approx(2 * math.sqrt(1 / 3) * (1 - math.exp(-1 / 6)), abs=0.02)
    alike = torch.tensor([squared_mmd(normal(100, 1, seed=k), normal(100, 1, seed=99 + k), [1.0]) for k in range(60)])
    assert abs(alike.mean()) < 3 * alike.std() / math.sqrt(60) and 0.3 < (alike < 0).double().mean() < 0.8


def test_mmd_is_the_double_loop() -> None:
    x, y, widths = normal(7, 2), normal(5, 2, seed=1), [0.5, 2.0]

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return sum(math.exp(-float((a - b).square().sum()) / (2 * s**2)) for s in widths) / len(widths)

    expected = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (7 * 6)
    expected += sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / (5 * 4)
    expected -= 2 * sum(k(a, b) for a in x for b in y) / (7 * 5)
    assert squared_mmd(x, y, widths) == pytest.approx(expected, rel=1e-12)
    assert two_sample_test(x, y, widths, permutations=3).squared_mmd == pytest.approx(expected, rel=1e-10)
    assert gaussian_kernel(x, y, widths)[2, 3] == pytest.approx(k(x[2], y[3]))


def test_the_two_sample_test_has_its_level_and_sees_a_small_width() -> None:
    p = [two_sample_test(normal(60, 2, seed=k), normal(50, 2, seed=500 + k), [1.0]).p for k in range(150)]
    assert kstest(p, "uniform").pvalue > 0.01 and min(p) > 0 and max(p) <= 1
    ends = torch.tensor([[-2.0, 0.0], [2.0, 0.0]]).double().repeat(150, 1)
    real, fake = ends + 0.02 * normal(300, 2), ends + 0.1 * normal(300, 2, seed=1)
    median = median_distance(real, fake)
    assert two_sample_test(real, fake, [median]).p > 0.05
    assert two_sample_test(real, fake, [median, median / 16, median / 64]).p == 1 / 201
    one, three = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [3.0]])
    assert median_distance(one, three) == 2 and median_distance(three, three) == 1


def test_condition_numbers_of_linear_generators() -> None:
    scale = torch.tensor([3.0, 1.0], dtype=torch.float64)
    found = log_condition_numbers(lambda z: z * scale, normal(4, 2))
    torch.testing.assert_close(found, torch.full((4,), math.log(9.0), dtype=torch.float64))
    wide = torch.linalg.qr(normal(5, 5)).Q[:2] * scale[:, None]  # two coordinates of five latents
    torch.testing.assert_close(log_condition_numbers(lambda z: z @ wide.T, normal(4, 5)), found)


@pytest.mark.parametrize(
    "generator",
    [
        dcgan.Generator(image=ImageSpec(16, 16, 1), width=4, latent=3),
        resnet.Generator(image=ImageSpec(16, 16, 1, 2), width=4, latent=3, conditional=True),
        progressive.Generator(image=ImageSpec(8, 8, 1), width_max=4, latent=3),
    ],
    ids=["dcgan", "resnet", "progressive"],
)
def test_every_kind_of_generator_has_jacobians(generator: nn.Module) -> None:
    generator, labels = generator.double().eval(), torch.tensor([1, 0])
    found = jacobians(lambda z: generator(z, labels), normal(2, 3))
    backward = torch.autograd.functional.jacobian(lambda z: generator(z, labels).flatten(1).sum(0), normal(2, 3))
    torch.testing.assert_close(found, backward.transpose(0, 1))


def test_jacobians_are_autograds() -> None:
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 1, 2)).double()
    latents = normal(5, 3)
    expected = torch.stack(
        [torch.autograd.functional.jacobian(lambda z: net(z[None]).flatten(), latent) for latent in latents]
    )
    torch.testing.assert_close(jacobians(net, latents), expected)
    values = torch.linalg.eigvalsh(expected.transpose(1, 2) @ expected)
    torch.testing.assert_close(log_condition_numbers(net, latents), (values[:, -1] / values[:, 0]).log())
