"""Losses that fit a density ratio, on two normals: a quadratic log ratio, by L-BFGS on 50,000 quantiles of each.

Random samples of that number would add an error of their own, of 0.02 or so.
"""

from collections.abc import Iterator

import torch
from rows import Row
from torch import Tensor

from ganlab.objectives import FDivergence, Minimax, Objective, RatioMatching

LOSSES: dict[str, Objective] = {
    "class probability": Minimax(),
    "LSIF": RatioMatching(loss="lsif"),
    "KLIEP": RatioMatching(loss="kliep"),
    "exponential": RatioMatching(loss="exponential"),
    "reverse KL": FDivergence(name="reverse_kl"),
}
N, MEAN, STD, MOST = 50_000, 0.5, 1.3, 0.03


def powers(x: Tensor) -> Tensor:
    """1, x, x^2."""
    return torch.stack([torch.ones_like(x), x, x.square()], 1)


def fitted(objective: Objective) -> Tensor:
    """The coefficients of the log ratio of N(0, 1) to N(0.5, 1.3^2)."""
    quantiles = torch.special.ndtri((torch.arange(N, dtype=torch.float64) + 0.5) / N)
    real, fake = powers(quantiles), powers(MEAN + STD * quantiles)
    found = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([found], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        descent.zero_grad()
        value = objective.discriminator(real @ found, fake @ found).mean()
        value.backward()
        return value

    descent.step(loss)
    return found.detach()


def rows(seed: int) -> Iterator[Row]:
    """How far each loss's log ratio is from the true one, at most, over [-2, 2]."""
    x = torch.linspace(-2, 2, 201, dtype=torch.float64)
    truth = -x.square() / 2 + ((x - MEAN) / STD).square() / 2 + torch.tensor(STD).log()
    for name, objective in LOSSES.items():
        off = (powers(x) @ fitted(objective) - truth).abs().max().item()
        yield Row(f"density ratio, {name}", "error of log p/q", off, f"below {MOST}", off < MOST)
