"""Measures of generators: Parzen windows, the two-sample test, modes and conditioning, where the answer is known."""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from rows import Row
from sklearn.datasets import load_digits

from ganlab.engine.runtime import Runtime
from ganlab.metrics.jacobian import log_condition_numbers
from ganlab.metrics.mmd import median_distance, squared_mmd, two_sample_test
from ganlab.metrics.modes import reverse_kl
from ganlab.metrics.parzen import parzen_log_likelihood
from ganlab.models import GANModule
from ganlab.networks import points
from ganlab.objectives import NonSaturating
from ganlab.regularizers import JacobianClamping
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec

SIGMAS = torch.logspace(-1, 0, 10).tolist()


def rows(seed: int) -> Iterator[Row]:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    s = 0.3
    closed = -math.log(2 * math.pi * (1 + s**2)) - 1 / (1 + s**2)
    found = parzen_log_likelihood(normal(5000, 2), normal(100, 2), normal(5000, 2), [s])
    yield Row("Parzen", "N(0, I) by windows of .3", found.mean, f"{closed:.4f} ± .05", abs(found.mean - closed) < 0.05)
    yield from parzen_of_digits(seed)

    closed = 2 * math.sqrt(1 / 3) * (1 - math.exp(-1 / 6))
    mmd = np.mean([squared_mmd(normal(500, 1), normal(500, 1) + 1, [1.0]) for _ in range(60)])
    yield Row("MMD", "N(0, 1) and N(1, 1)", float(mmd), f"{closed:.4f} ± .01", abs(mmd - closed) < 0.01)
    alike = np.array([two_sample_test(normal(100, 2), normal(100, 2), [1.0]).p for _ in range(400)])
    level = float((alike <= 0.05).mean())
    yield Row("MMD test", "share of p <= .05 at p = q, 400 tests", level, ".05 ± .03", abs(level - 0.05) < 0.03)
    power = float(np.mean([two_sample_test(normal(100, 2), normal(100, 2) + 0.7, [1.0]).p <= 0.05 for _ in range(100)]))
    yield Row("MMD test", "the same at a shift of .7 in both coordinates", power, "> .95", power > 0.95)
    small = float(np.mean([p_of_widths(normal) <= 0.05 for _ in range(20)]))
    yield Row("MMD test", "the same of modes of std .05 for .02, 4 apart", small, "> .95", small > 0.95)

    counts = [torch.randint(1000, (26_000,), generator=draw).bincount(minlength=1000) for _ in range(20)]
    floor = float(np.mean([reverse_kl(count) for count in counts]))
    yield Row(
        "reverse KL", "26,000 samples of 1,000 even modes", floor, "999 / 52,000 = .0192", abs(floor - 0.0192) < 5e-4
    )
    scale = torch.tensor([3.0, 1.0], dtype=torch.float64)
    condition = float(log_condition_numbers(lambda z: z * scale, normal(1, 2)).exp())
    yield from clamping(seed)
    yield Row("conditioning", "diag(3, 1)", condition, "9", abs(condition - 9) < 1e-9)


def clamping(seed: int) -> Iterator[Row]:
    """Quotients of a small generator of digits, trained without and with clamping to [1, 2]."""
    image, adam = ImageSpec(8, 8, 1), partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))
    digits = torch.from_numpy(load_digits().images / 8 - 1).float()[:, None]
    penalty, excess = JacobianClamping(weight=10.0, least=1.0, most=2.0), []
    for name, regularizers in (("without", {}), ("with", {"clamping": penalty})):
        seed_everything(seed)
        game = GANModule(
            image=image,
            generator=points.Generator(image=image, width=64, latent=16),
            discriminator=points.Discriminator(image=image, width=64, layers=2),
            objective=NonSaturating(),
            optimizers={"generator": adam, "discriminator": adam},
            generator_regularizers=regularizers,
            runtime=Runtime(seed=seed),
        )
        game.configure_optimizers()
        draw = torch.Generator().manual_seed(seed)
        for number in range(600):
            chosen = torch.randint(len(digits), (64,), generator=draw)
            game.training_step((digits[chosen], torch.full((64,), -1)), number)
        latents, steps = torch.randn(2, 2000, 16, generator=draw)
        with torch.no_grad():
            moved = latents + steps / steps.norm(dim=1, keepdim=True)
            here, there = (game.generator(each, torch.zeros(2000, dtype=torch.int64)) for each in (latents, moved))
        quotient = (here - there).flatten(1).norm(dim=1)
        excess.append(float(((quotient - 2).relu().square() + (1 - quotient).relu().square()).mean()))
        inside = float(((quotient >= 0.9) & (quotient <= 2.2)).double().mean())
        target = "> .9" if regularizers else "what clamping has to mend"
        met = not regularizers or inside > 0.9
        yield Row("Jacobian clamping", f"share of quotients in [.9, 2.2], {name}", inside, target, met)
    share = excess[1] / excess[0]
    yield Row("Jacobian clamping", "mean squared excess, with by without", share, "< .25", share < 0.25)


def p_of_widths(normal) -> float:
    """The test of two modes against the same modes, wider."""
    ends = torch.tensor([[-2.0, 0.0], [2.0, 0.0]], dtype=torch.float64).repeat(250, 1)
    real, fake = ends + 0.02 * normal(500, 2), ends + 0.05 * normal(500, 2)
    widths = median_distance(real, fake) * torch.tensor([1, 1 / 4, 1 / 16, 1 / 64])
    return two_sample_test(real, fake, widths).p


def parzen_of_digits(seed: int) -> Iterator[Row]:
    """Three generators of scikit-learn's digits that need no training; a trained one lies between the last two."""
    order = np.random.default_rng(seed).permutation(1797)
    digits = torch.from_numpy(load_digits().data[order] / 16)
    train, validation, test = digits[:1000], digits[1000:1300], digits[1300:]
    noise = torch.randn(1000, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    factor = torch.linalg.cholesky(train.T.cov() + 1e-6 * torch.eye(64))
    mean = train.mean(0, keepdim=True)
    for what, samples, target in (
        ("the mean image", mean, -7.2),
        ("a Gaussian fit", mean + noise @ factor.T, 0.7),
        ("1,000 real digits", train, 27.9),
    ):
        found = parzen_log_likelihood(samples, validation, test, SIGMAS)
        yield Row(
            "Parzen",
            f"digits by {what}, sigma {found.sigma:.3f}",
            found.mean,
            f"{target} ± 1.5 (± {found.standard_error:.2f})",
            abs(found.mean - target) < 1.5,
        )
