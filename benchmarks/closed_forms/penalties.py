"""Which penalties let two parallel lines meet, and instance noise between two points.

Reals (0, u) and fakes (theta, u'), u uniform: the divergence is log 2 for every theta but 0 (Arjovsky et al. 2017,
example 1), so what moves theta is the discriminator's shape. 1,500 rounds of Adam from theta = 1, three seeds at once.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from rows import Row
from torch import Tensor

from ganlab.augment import InstanceNoise
from ganlab.engine.batch import Batch
from ganlab.engine.penalties import judge, noise_of
from ganlab.objectives import Minimax, NonSaturating, Objective, Wasserstein
from ganlab.regularizers import (
    DRAGAN,
    R1,
    R2,
    FiniteDifferenceR1,
    GradientPenalty,
    JSRegularizer,
    LipschitzPenalty,
    Regularizer,
    ZeroCenteredPenalty,
)
from ganlab.seeding import Noise

SEEDS, N, ROUNDS, LAST, WIDTH = 3, 64, 1500, 300, 32


class Case(NamedTuple):
    """A game, and within which distance of the reals theta must stay at the end; None where it need not be so soon."""

    objective: Objective
    penalty: Regularizer | None
    most: float | None


CASES = {
    "non-saturating": Case(NonSaturating(), None, None),
    "minimax": Case(Minimax(), None, None),
    "non-saturating, R1": Case(NonSaturating(), R1(weight=1.0), 0.01),
    "non-saturating, finite-difference R1": Case(NonSaturating(), FiniteDifferenceR1(weight=1.0), 0.02),
    "non-saturating, R2": Case(NonSaturating(), R2(weight=1.0), None),
    "non-saturating, zero-centred": Case(NonSaturating(), ZeroCenteredPenalty(weight=1.0), 0.01),
    "non-saturating, Roth": Case(NonSaturating(), JSRegularizer(weight=1.0), None),
    "non-saturating, DRAGAN": Case(NonSaturating(), DRAGAN(weight=10.0), None),
    "WGAN-GP": Case(Wasserstein(), GradientPenalty(weight=10.0), None),
    "WGAN-LP": Case(Wasserstein(), LipschitzPenalty(weight=10.0), None),
}


def network(draw: torch.Generator) -> tuple[list[Tensor], Callable[..., Tensor]]:
    """Three discriminators 2-32-32-1 side by side: their weights, and [3 n, 2] to [3 n]."""

    def layer(inputs: int, outputs: int) -> list[Tensor]:
        bound = inputs**-0.5
        shapes = (SEEDS, inputs, outputs), (SEEDS, 1, outputs)
        return [((torch.rand(shape, generator=draw) * 2 - 1) * bound).requires_grad_() for shape in shapes]

    weights = layer(2, WIDTH) + layer(WIDTH, WIDTH) + layer(WIDTH, 1)

    def score(points: Tensor, full: bool = False) -> Tensor:
        hidden = points.unflatten(0, (SEEDS, -1))
        for number in range(0, 6, 2):
            hidden = torch.baddbmm(weights[number + 1], hidden.tanh() if number else hidden, weights[number])
        return hidden.flatten()

    return weights, score


def play(case: Case, seed: int) -> Tensor:
    """The paths of theta [rounds, seeds]."""
    draw = torch.Generator().manual_seed(seed)
    weights, score = network(draw)
    theta = torch.ones(SEEDS, 1, requires_grad=True)
    of_d = torch.optim.Adam(weights, lr=1e-3, betas=(0.5, 0.9))
    of_g = torch.optim.Adam([theta], lr=2e-3, betas=(0.5, 0.9))
    due: Mapping[str, Regularizer] = {} if case.penalty is None else {"it": case.penalty}

    def line(at: Tensor) -> Tensor:
        return torch.stack([at.expand(SEEDS, N), torch.rand(SEEDS, N, generator=draw)], 2).flatten(0, 1)

    path = []
    for _ in range(ROUNDS):
        real, fake = line(torch.zeros(SEEDS, 1)), line(theta.detach())
        points = {"real": (real,), "fake": (fake,)}
        if any("interpolates" in penalty.at for penalty in due.values()):
            points["interpolates"] = (real.lerp(fake, torch.rand(SEEDS * N, 1, generator=draw)),)
        noise = {noise_of("it"): torch.randn(SEEDS * N, 2, generator=draw)}
        terms, logits = judge(score, points, Batch(noise, due))
        loss = case.objective.discriminator(logits["real"], logits["fake"]) + sum(terms.values())
        of_d.zero_grad()
        (loss.sum() / N).backward()
        of_d.step()
        of_g.zero_grad()
        (case.objective.generator(score(line(theta))).sum() / N).backward()
        of_g.step()
        path.append(theta.detach()[:, 0].clone())
    return torch.stack(path)


def noisy(seed: int, t: float = 1.0, std: float = 0.5) -> tuple[float, float]:
    """Slope and offset of a linear discriminator of 0 and t, both with noise."""
    noise, weights = InstanceNoise(std=std), torch.zeros(2, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weights], lr=0.05)
    for step in range(2000):
        adam.param_groups[0]["lr"] = 0.05 * (1 - step / 2000)
        drawn = Noise(seed, step, dtype=torch.float64)
        real, fake = (
            noise(
                torch.full((256, 1, 1, 1), at, dtype=torch.float64), noise.draw((256, 1, 1, 1), drawn, name)
            ).flatten()
            for at, name in ((0.0, "real"), (t, "fake"))
        )
        adam.zero_grad()
        NonSaturating().discriminator(*(weights[0] * x + weights[1] for x in (real, fake))).mean().backward()
        adam.step()
    return weights[0].item(), weights[1].item()


def rows(seed: int) -> Iterator[Row]:
    """The largest |theta| of the last 300 rounds of any seed, and the discriminator under noise."""
    for name, case in CASES.items():
        off = play(case, seed)[-LAST:].abs().max().item()
        target = "no bar" if case.most is None else f"below {case.most}"
        yield Row(f"parallel lines, {name}", "largest |theta|", off, target, case.most is None or off < case.most)
    for what, ours, want in zip(("slope", "offset"), noisy(seed), (-4.0, 2.0), strict=True):
        yield Row("instance noise, std 0.5", what, ours, f"{want} +- 5 %", abs(ours / want - 1) < 0.05)
