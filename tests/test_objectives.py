"""Every objective against its formula, its closed optimum on tables, and finite differences."""

import inspect
import math

import pytest
import torch
from scipy.optimize import brentq, minimize_scalar
from torch.nn.functional import softplus

from ganlab import objectives
from ganlab.experiment.parts import build, check_value, with_defaults
from ganlab.objectives import (
    MMD,
    DistanceKernel,
    FDivergence,
    FeatureMatching,
    GaussianKernel,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Objective,
    RatioMatching,
    RationalQuadraticKernel,
    RelativisticAverage,
    RelativisticPaired,
    RepulsiveMMD,
    Wasserstein,
)
from ganlab.objectives.divergences import ROWS
from ganlab.types import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

F = {
    "kl": lambda u: u * math.log(u),
    "reverse_kl": lambda u: -math.log(u),
    "pearson": lambda u: (u - 1) ** 2,
    "neyman": lambda u: (1 - u) ** 2 / u,
    "squared_hellinger": lambda u: (math.sqrt(u) - 1) ** 2,
    "jeffrey": lambda u: (u - 1) * math.log(u),
    "jensen_shannon": lambda u: u * math.log(u) - (u + 1) * math.log((u + 1) / 2),
    "gan": lambda u: u * math.log(u) - (u + 1) * math.log(u + 1),
    "total_variation": lambda u: abs(u - 1) / 2,
}
"""f of table 1; the last two but one differ by log 4."""

OBJECTIVES = [
    Minimax(),
    NonSaturating(),
    NonSaturating(real_target=0.9),
    LeastSquares(),
    Hinge(),
    Wasserstein(),
    *(FDivergence(name=name, trick=trick) for name in F for trick in (True, False)),
    *(RatioMatching(loss=loss) for loss in ("lsif", "kliep", "exponential")),
    RelativisticPaired(),
    RelativisticAverage(),
    MMD(),
    MMD(kernel=RationalQuadraticKernel()),
    MMD(kernel=DistanceKernel()),
    RepulsiveMMD(),
    FeatureMatching(),
]
EVERY = pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)


def named(value):
    """A part's own words; a function has none that are the same in every process."""
    return "" if inspect.isroutine(value) else repr(value)


P, Q = torch.tensor([5, 1, 8, 2, 4]), torch.tensor([3, 6, 2, 5, 4])
"""Counts of five points under data and generator, 20 each."""
RATIO = (P / Q).tolist()


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def of_generator(objective, fake, real):
    return objective.generator(fake, real) if objective.sees_reals else objective.generator(fake)


def fitted(objective):
    """The best discriminator of the five points, and its loss."""
    table = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([table], max_iter=200, tolerance_change=0, line_search_fn="strong_wolfe")

    def loss():
        descent.zero_grad()
        value = objective.discriminator(table.repeat_interleave(P), table.repeat_interleave(Q)).mean()
        value.backward()
        return value

    descent.step(loss)
    return table.detach(), loss().item()


def test_every_objective_is_tested():
    kinds = {name for name in objectives.__all__ if Objective in getattr(objectives, name).__mro__}
    elsewhere = {"Objective", "OfPatches"}  # the second in `test_projected`
    assert kinds - elsewhere == {type(objective).__name__ for objective in OBJECTIVES}


@EVERY
def test_gradients_are_those_of_finite_differences(objective):
    """Once and twice, by reals and fakes of both players; one loss a sample."""
    shape = (6, 3) if isinstance(objective, MMD | FeatureMatching) else (6,)
    real, fake = (draw(*shape, seed=seed).requires_grad_() for seed in (1, 2))
    for loss in (objective.discriminator, lambda x, y: of_generator(objective, y, x)):
        assert loss(real, fake).shape == (6,)
        assert torch.autograd.gradcheck(loss, (real, fake), fast_mode=True)
        assert torch.autograd.gradgradcheck(loss, (real, fake), fast_mode=True)


@pytest.mark.parametrize(
    ("objective", "best"),
    [
        (Minimax(), math.log),
        (NonSaturating(), math.log),
        (NonSaturating(real_target=0.9), lambda r: math.log(0.9 * r / (0.1 * r + 1))),  # D = 0.9 p / (p + q)
        (LeastSquares(), lambda r: r / (r + 1)),
        *((RatioMatching(loss=loss), math.log) for loss in ("lsif", "kliep", "exponential")),
        (FDivergence(name="gan"), math.log),
        (FDivergence(name="kl"), lambda r: 1 + math.log(r)),
        (FDivergence(name="pearson"), lambda r: 2 * (r - 1)),
    ],
    ids=named,
)
def test_the_best_discriminator_of_a_table_is_the_closed_one(objective, best):
    assert fitted(objective)[0].tolist() == pytest.approx([best(r) for r in RATIO], abs=1e-5)


def test_the_best_value_of_the_game_is_twice_the_jensen_shannon_divergence_minus_log_4():
    p, q = P / 20, Q / 20
    m = (p + q) / 2
    divergence = ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()).item() / 2
    assert -fitted(Minimax())[1] == pytest.approx(2 * divergence - math.log(4), abs=1e-6)


@pytest.mark.parametrize("name", F)
def test_a_bound_is_the_divergence_at_its_best_and_its_generator_loss_what_the_paper_says(name):
    divergence = sum(q / 20 * F[name](r) for q, r in zip(Q.tolist(), RATIO, strict=True))
    table, loss = fitted(FDivergence(name=name))
    assert -loss == pytest.approx(divergence, abs=1e-6)
    if name != "total_variation":  # whose f has a kink at 1
        exact = FDivergence(name=name, trick=False).generator(table).tolist()
        slopes = [(F[name](r + 1e-6) - F[name](r - 1e-6)) / 2e-6 for r in RATIO]
        assert exact == pytest.approx([F[name](r) - r * s for r, s in zip(RATIO, slopes, strict=True)], abs=1e-4)
        assert FDivergence(name=name).generator(table).tolist() == pytest.approx([-s for s in slopes], abs=1e-4)


@pytest.mark.parametrize("name", F)
def test_the_conjugate_is_the_supremum_that_defines_it(name):
    for v in (-2.0, -0.3, 0.0, 0.4, 1.5):
        row = ROWS[name]
        t = row.variational(torch.tensor(v, dtype=torch.float64)).item()
        found = minimize_scalar(lambda w: F[name](math.exp(w)) - math.exp(w) * t, bounds=(-30, 12), method="bounded")  # noqa: B023
        ours = row.conjugate(torch.tensor(v, dtype=torch.float64)).item()
        assert ours == pytest.approx(-found.fun, abs=2e-5 * max(1, abs(ours)))


def test_the_conjugate_of_jeffreys_divergence_is_lamberts_function_far_out_too():
    for t in (-60.0, -5.0, 0.0, 0.9, 5.0, 30.0):
        w = math.exp(brentq(lambda u: u + math.exp(u) - (1 - t), -100, 10, xtol=1e-13))  # noqa: B023
        ours = ROWS["jeffrey"].conjugate(torch.tensor(t, dtype=torch.float64)).item()
        assert ours == pytest.approx(w + 1 / w + t - 2, rel=1e-9, abs=1e-9)


def test_the_losses_of_gans_that_are_others_by_name():
    real, fake = draw(9), draw(9, seed=1)
    gan, js, smooth = FDivergence(name="gan"), FDivergence(name="jensen_shannon"), NonSaturating(real_target=0.9)
    torch.testing.assert_close(gan.discriminator(real, fake), NonSaturating().discriminator(real, fake))
    torch.testing.assert_close(gan.generator(fake), NonSaturating().generator(fake))
    torch.testing.assert_close(FDivergence(name="gan", trick=False).generator(fake), Minimax().generator(fake))
    torch.testing.assert_close(js.discriminator(real, fake), gan.discriminator(real, fake) - math.log(4))
    want = 0.9 * softplus(-real) + 0.1 * softplus(real) + softplus(fake)
    torch.testing.assert_close(smooth.discriminator(real, fake), want)
    torch.testing.assert_close(LeastSquares().generator(fake), (fake - 1) ** 2 / 2)


def test_a_generator_of_ratios_takes_no_outlier():
    far = torch.tensor([100.0], requires_grad=True)
    for loss in ("lsif", "kliep", "exponential"):
        value = RatioMatching(loss=loss).generator(far)
        assert value.isfinite() and torch.autograd.grad(value.sum(), far)[0] == 0


# --- of a batch as a whole


def test_relativistic_average_by_hand():
    real, fake = draw(5), draw(5, seed=1)
    for i, loss in enumerate(RelativisticAverage().discriminator(real, fake).tolist()):
        above, below = real[i] - fake.mean(), fake[i] - real.mean()
        assert loss == pytest.approx((-math.log(above.sigmoid()) - math.log(1 - below.sigmoid())) / 2, rel=1e-12)
    torch.testing.assert_close(
        RelativisticAverage().generator(fake, real), RelativisticAverage().discriminator(fake, real)
    )


@pytest.mark.parametrize(
    ("kernel", "k"),
    [
        (GaussianKernel(widths=(0.5, 2.0)), lambda d: math.exp(-(d**2) / 0.5) + math.exp(-(d**2) / 8)),
        (RationalQuadraticKernel(scales=(0.2, 3.0)), lambda d: (1 + d**2 / 0.4) ** -0.2 + (1 + d**2 / 6) ** -3),
        (DistanceKernel(), lambda d: -d),
    ],
    ids=named,
)
def test_mmd_is_a_double_loop(kernel, k):
    x, y = draw(5, 3), draw(5, 3, seed=1)

    def near(a, b):
        return k(math.sqrt(((a - b) ** 2).sum()))

    def mean(i, term):
        return sum(term(j) for j in range(5) if j != i) / 4

    for i, ours in enumerate(MMD(kernel=kernel).generator(y, x).tolist()):
        want = mean(i, lambda j: near(x[i], x[j]) + near(y[i], y[j]) - near(x[i], y[j]) - near(x[j], y[i]))  # noqa: B023
        assert ours == pytest.approx(want, abs=1e-9)
    torch.testing.assert_close(MMD(kernel=kernel).discriminator(x, y), -MMD(kernel=kernel).generator(y, x))
    for i, ours in enumerate(RepulsiveMMD(kernel=kernel).discriminator(x, y).tolist()):
        assert ours == pytest.approx(mean(i, lambda j: near(x[i], x[j]) - near(y[i], y[j])), abs=1e-9)  # noqa: B023


def test_mmd_of_two_normals_is_the_closed_one_and_of_one_is_0():
    """2 sqrt(1/3) (1 - exp(-1/6)) for unit normals 1 apart, and a width of 1."""
    mmd = MMD(kernel=GaussianKernel(widths=(1.0,)))
    apart = torch.stack([mmd.generator(draw(200, seed=i), draw(200, seed=100 + i) + 1).mean() for i in range(40)])
    same = torch.stack([mmd.generator(draw(32, seed=i), draw(32, seed=1000 + i)).mean() for i in range(100)])
    closed = 2 * math.sqrt(1 / 3) * (1 - math.exp(-1 / 6))
    assert abs(apart.mean() - closed) < 4 * apart.std() / 40**0.5 < 0.05
    assert abs(same.mean()) < 4 * same.std() / 100**0.5 and (same < 0).any()
    assert RationalQuadraticKernel()(torch.zeros(1)) == 5


def test_feature_matching_is_the_squared_distance_of_means_of_all_but_the_logit():
    real, fake = draw(6, 4).requires_grad_(), draw(6, 4, seed=1).requires_grad_()
    loss = FeatureMatching().generator(fake, real).mean()
    want = (real.mean(0) - fake.mean(0))[1:].square().sum()
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(torch.autograd.grad(loss, fake)[0], torch.autograd.grad(want, fake)[0])
    torch.testing.assert_close(
        FeatureMatching().discriminator(real, fake), NonSaturating().discriminator(real[:, 0], fake[:, 0])
    )


@pytest.mark.parametrize("target", [0.0, 1.1, -1.0])
def test_a_target_that_is_no_probability_is_refused(target):
    with pytest.raises(UserError, match=f"real_target: {target} is no probability; write for example 0.9"):
        NonSaturating(real_target=target)


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        (
            {"_target_": "ganlab.objectives.FDivergence", "name": "reverse-kl"},
            "model.objective.name: 'reverse-kl' is not one of kl, reverse_kl, pearson, neyman, squared_hellinger, "
            "jeffrey, jensen_shannon, gan, total_variation; did you mean 'reverse_kl'?",
        ),
        (
            {"_target_": "ganlab.objectives.RatioMatching", "loss": "bce"},
            "model.objective.loss: 'bce' is not one of lsif, kliep, exponential",
        ),
        (
            {"_target_": "ganlab.objectives.MMD", "kernel": {"_target_": "ganlab.objectives.GaussKernel"}},
            "model.objective.kernel._target_: ganlab.objectives has no 'GaussKernel'; did you mean 'GaussianKernel'?",
        ),
        (
            {"_target_": "ganlab.objectives.MMD", "kernel": "gaussian"},
            "model.objective.kernel: 'gaussian' is not Kernel; write {_target_: ganlab.objectives.NAME, ...}",
        ),
    ],
)
def test_an_unknown_divergence_or_kernel_is_refused_with_the_right_names(part, complaint):
    assert list(check_value(part, Objective, "model.objective", ())) == [complaint]


def test_objectives_and_kernels_are_made_of_configs():
    part = {
        "_target_": "ganlab.objectives.RepulsiveMMD",
        "kernel": {"_target_": "ganlab.objectives.RationalQuadraticKernel", "scales": [1, 2]},
    }
    assert build(part, Objective) == RepulsiveMMD(kernel=RationalQuadraticKernel(scales=(1.0, 2.0)))
    assert with_defaults({"_target_": "ganlab.objectives.MMD"}, Objective, ()) == {
        "_target_": "ganlab.objectives.MMD",
        "kernel": {"_target_": "ganlab.objectives.GaussianKernel", "widths": [1.0, 2.0, 4.0, 8.0, 16.0]},
    }
