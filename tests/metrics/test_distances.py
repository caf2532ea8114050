"""Every metric against a closed form, an explicit loop or another library."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import avg_pool2d
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from ganlab.metrics.frechet import frechet_distance, gaussian_distance
from ganlab.metrics.inception_score import inception_score
from ganlab.metrics.kernel import kernel_distance, squared_mmd
from ganlab.metrics.moments import Moments
from ganlab.metrics.msssim import ms_ssim, scales_of
from ganlab.metrics.prdc import nearest, precision_recall_density_coverage
from ganlab.metrics.probe import probe_accuracy

pytestmark = pytest.mark.usefixtures("one_thread")


def draw(n: int, d: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * scale


def correlated(n: int, d: int, seed: int) -> torch.Tensor:
    return draw(n, d, seed) @ draw(d, d, seed + 100) + draw(1, d, seed + 200)


def test_moments_in_pieces_are_those_of_numpy() -> None:
    features = correlated(100, 7, 0) + 50
    moments = Moments.of(features[:30]) + Moments.of(features[30:31]) + Moments.of(features[31:])
    assert moments.n == 100
    np.testing.assert_allclose(moments.mean, features.double().mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(features.double().numpy(), rowvar=False), rtol=0, atol=1e-10)


def test_frechet_distance_of_gaussians_with_a_closed_form() -> None:
    # Commuting covariances: |m1 - m2|^2 + the sum of (sqrt a - sqrt b)^2 over their common eigenvectors.
    basis, _ = torch.linalg.qr(draw(6, 6).double())
    a, b = torch.tensor([[4.0, 1.0, 9.0, 2.0, 3.0, 5.0], [1.0, 1.0, 4.0, 8.0, 3.0, 0.5]], dtype=torch.float64)
    means = draw(2, 6, 1).double()
    expected = (means[0] - means[1]).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    found = gaussian_distance(means[0], basis @ a.diag() @ basis.T, means[1], basis @ b.diag() @ basis.T)
    assert found == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("rank", [1, 3])
def test_frechet_distance_of_covariances_without_full_rank(rank: int) -> None:
    line = draw(rank, 6).double()  # all variance in `rank` directions, on both sides the same
    covariance, zero = line.T @ line, torch.zeros(6, dtype=torch.float64)
    assert gaussian_distance(zero, covariance, zero, 4 * covariance) == pytest.approx(
        float(covariance.trace()), rel=1e-7
    )
    constant = torch.zeros(6, 6, dtype=torch.float64)
    assert gaussian_distance(zero, constant, zero + 1, covariance) == pytest.approx(6 + float(covariance.trace()))
    assert gaussian_distance(zero, constant, zero, constant) == 0


def test_frechet_distance_is_that_of_scipy_and_torch_fidelity() -> None:
    a, b = (Moments.of(correlated(300, 64, seed)) for seed in (0, 1))
    root = sqrtm((a.covariance @ b.covariance).numpy())
    expected = (a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace() - 2 * root.trace().real
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-8)
    theirs, ours = ({"mu": m.mean.numpy(), "sigma": m.covariance.numpy()} for m in (a, b))
    fidelity = fid_statistics_to_metric(theirs, ours, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(fidelity, rel=1e-8)


def test_kernel_distance_is_an_explicit_double_loop() -> None:
    x, y = correlated(7, 3, 0), correlated(5, 3, 1)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return (float(a.double() @ b.double()) / 3 + 1) ** 3

    within_x = [kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j]
    within_y = [kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j]
    between = [kernel(a, b) for a in x for b in y]
    expected = np.mean(within_x) + np.mean(within_y) - 2 * np.mean(between)
    assert squared_mmd(x, y) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_is_that_of_torch_fidelity() -> None:
    x, y = correlated(200, 32, 0), correlated(200, 32, 1)
    theirs = kid_features_to_metric(x, y, kid_subsets=1, kid_subset_size=200, verbose=False)
    ours, _ = kernel_distance(x, y, subsets=2, size=200)  # a subset of all: the same whatever is drawn
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)


def test_kernel_distance_is_unbiased() -> None:
    values = torch.tensor([squared_mmd(draw(20, 8, seed), draw(20, 8, 1000 + seed)) for seed in range(500)])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(500)
    mean, error = kernel_distance(draw(2000, 8, 5), draw(2000, 8, 6), size=50)
    assert abs(mean) < 3 * error


def test_kernel_distance_has_a_seed_and_takes_small_sets_whole() -> None:
    x, y = correlated(40, 4, 0), correlated(60, 4, 1)
    assert kernel_distance(x, y, size=30, seed=1) == kernel_distance(x, y, size=30, seed=1)
    assert kernel_distance(x, y, size=30, seed=1) != kernel_distance(x, y, size=30, seed=2)
    assert kernel_distance(x, y, size=100)[0] == pytest.approx(squared_mmd(x, y))
    assert kernel_distance(x, y, size=100)[1] is None  # all subsets are the same: their spread is no error


def test_inception_score_of_known_labels() -> None:
    sure = torch.eye(10).repeat(20, 1) * 100
    assert inception_score(sure) == pytest.approx((10.0, 0.0))  # every class equally often, no doubt
    assert inception_score(torch.zeros(200, 10)) == pytest.approx((1.0, 0.0))
    halves = torch.cat([sure[:1].expand(50, -1), sure[1:2].expand(50, -1)])
    assert inception_score(halves, splits=1)[0] == pytest.approx(2.0)
    assert inception_score(halves, splits=2) == pytest.approx((1.0, 0.0))


def test_inception_score_is_that_of_torch_fidelity() -> None:
    logits = draw(500, 20, scale=3.0)
    theirs = isc_features_to_metric(logits, splits=10, shuffle=False)
    expected = theirs["inception_score_mean"], theirs["inception_score_std"]
    assert inception_score(logits) == pytest.approx(expected, rel=1e-9)


def brute_force(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.linalg.norm(a - b))

    def radius(points: np.ndarray, i: int, k: int) -> float:
        return sorted(distance(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    real3, real5 = ([radius(real, i, k) for i in range(len(real))] for k in (3, 5))
    fake3 = [radius(fake, i, 3) for i in range(len(fake))]
    return {
        "precision": np.mean([any(distance(f, r) <= d for r, d in zip(real, real3, strict=True)) for f in fake]),
        "recall": np.mean([any(distance(f, r) <= d for f, d in zip(fake, fake3, strict=True)) for r in real]),
        "density": sum(distance(f, r) <= d for f in fake for r, d in zip(real, real5, strict=True)) / 5 / len(fake),
        "coverage": np.mean([any(distance(f, r) <= d for f in fake) for r, d in zip(real, real5, strict=True)]),
    }


def test_precision_recall_density_coverage_are_a_brute_force_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganlab.metrics.prdc.ELEMENTS", 150)  # rows of 3 and 4: pieces that do not divide the sets
    fake, real = draw(37, 3, 0, scale=0.7) + 0.5, draw(41, 3, 1)
    found = precision_recall_density_coverage(fake, real)
    assert found == pytest.approx(brute_force(fake.double().numpy(), real.double().numpy()), abs=1e-12)
    assert 0 < found["recall"] < found["precision"] < 1
    distances, indices = nearest(fake, real, 2)
    every = np.linalg.norm(fake.double().numpy()[:, None] - real.double().numpy(), axis=2)
    np.testing.assert_array_equal(indices, every.argsort(1)[:, :2])
    np.testing.assert_allclose(distances, np.sort(every)[:, :2], rtol=1e-9)


def test_precision_and_recall_are_those_of_torch_fidelity() -> None:
    fake, real = draw(400, 16, 0, scale=0.9) + 0.2, draw(300, 16, 1)
    theirs = prc_features_to_metric(fake, real, prc_neighborhood=3, verbose=False)
    ours = precision_recall_density_coverage(fake, real)
    assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-6)


def test_ms_ssim_is_made_of_torchmetrics_own_scales() -> None:
    # (Its MS-SSIM takes the last scale's mean with the padded border, which Wang et al. leave out.)
    a = torch.rand(3, 2, 176, 192, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 255
    b = (a + 30 * draw(a.numel(), 1, 1).view_as(a)).clamp(0, 255)
    x, y, expected = a, b, torch.ones(3, dtype=torch.float64)
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        _, full = ssim(x, y, data_range=255.0, reduction="none", return_full_image=True)
        _, contrast = ssim(x, y, data_range=255.0, reduction="none", return_contrast_sensitivity=True)
        term = full[..., 5:-5, 5:-5].mean((1, 2, 3)) if scale == 4 else contrast
        expected = expected * term ** (weight / 1.0001)  # they sum to 1.0001
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    torch.testing.assert_close(ms_ssim(a, b), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(ms_ssim(a, a), torch.ones(3, dtype=torch.float64))
    assert [scales_of(size) for size in (10, 11, 32, 64, 176, 1024)] == [0, 1, 2, 3, 5, 5]


def test_probe_is_scikit_learn_s() -> None:
    centres, labels = draw(4, 6, 0, scale=1.2), torch.arange(400) % 4
    train, test = (centres[labels] + draw(400, 6, seed) for seed in (1, 2))
    ours = probe_accuracy(train, labels, test, labels, classes=4)
    mean, deviation = train.mean(0), train.std(0)
    theirs = LogisticRegression(C=1 / (2 * 1e-3 * 400), max_iter=500)
    theirs.fit(((train - mean) / deviation).numpy(), labels.numpy())
    assert ours == theirs.score(((test - mean) / deviation).numpy(), labels.numpy())
    assert 0.6 < ours < 1
