"""Packing makes lost modes easier to see (Lin et al. 2018, section 4): total variation of packs, by discriminators.

Data are uniform in [0, 1]. Two generators are equally far from them, 0.2 in total variation: one never draws below
0.2, the other draws the lower half with density 0.6 and the upper half with 1.4. Packs of m tell the first one more
clearly than the second: 1 - 0.8^m against half the sum of |0.6^k 1.4^(m-k) - 1| C(m, k) / 2^m over k. A discriminator
that is right as often as possible is right in (1 + TV) / 2 of the cases.

Then the ring, on eight seeds at once, without packing and with: the effect of the paper's table 1 (6.3 modes of 8, and
7.9 in pairs, after 400,000 steps of larger networks) in 1,800 rounds of `configs/toy/ring.yaml`.
"""

from collections.abc import Callable, Iterator
from math import comb

import torch
from copies import many
from rows import Row
from torch import Tensor
from torch.nn.functional import softplus
from torch.optim import Adam

from closed_forms.ring import SEEDS, covered, played
from ganlab.networks.packing import Packed
from ganlab.networks.points import Discriminator
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec

STEPS, PACKS, TESTED = 1500, 256, 60_000
GENERATORS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[int], float]]] = {
    "one mode lost": (lambda u: 0.2 + 0.8 * u, lambda m: 1 - 0.8**m),
    "two modes of unequal weight": (
        lambda u: torch.where(u < 0.3, u / 0.6, 0.5 + (u - 0.3) / 1.4),
        lambda m: sum(comb(m, k) * abs(0.6**k * 1.4 ** (m - k) - 1) for k in range(m + 1)) / 2 ** (m + 1),
    ),
}


def measured(quantile: Callable[[Tensor], Tensor], packing: int, seed: int) -> float:
    """Train a packed discriminator; return its estimate of the total variation on fresh packs."""
    seed_everything(seed)
    network = Packed(
        image=ImageSpec(1, 1, 1),
        packing=packing,
        discriminator=lambda image: Discriminator(image=image, width=64, layers=2),
    )
    draw = torch.Generator().manual_seed(seed)
    optimizer = Adam(network.parameters(), lr=3e-3, fused=True)

    def logits(n: int) -> tuple[Tensor, Tensor]:
        real, fake = torch.rand(2, n, 1, 1, 1, generator=draw)
        none = torch.full((n,), -1)
        return network(2 * real - 1, none), network(2 * quantile(fake) - 1, none)

    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / STEPS)
        real, fake = logits(PACKS * packing)
        optimizer.zero_grad()
        (softplus(-real) + softplus(fake)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        real, fake = logits(TESTED * packing)
    return ((real > 0).float().mean() - (fake > 0).float().mean()).item()


def rows(seed: int) -> Iterator[Row]:
    for name, (quantile, exact) in GENERATORS.items():
        for m in (1, 2, 3, 4):
            found = measured(quantile, m, seed)
            ok = abs(found - exact(m)) < 0.02
            yield Row(f"packs of {m}, {name}", "total variation", found, f"{exact(m):.3f} +- .02", ok)
    (alone, beside), (packed, near) = (
        covered(played(many(f"toy/{name}.yaml", SEEDS, seed)[0], seed)) for name in ("ring", "ring_packed")
    )
    most, fewest = alone.max().item(), packed.min().item()
    yield Row("ring, without packing", "most modes of 8 on 8 seeds", most, "fewer than with", most < fewest)
    yield Row("ring, packs of 2", "fewest modes of 8 on 8 seeds", fewest, "more than without", fewest > most)
    target = f"no bar; without, {beside.min():.3f} to {beside.max():.3f}"  # a generator of one mode can be near to it
    yield Row("ring, packs of 2", "least share near to a mode", near.min().item(), target, True)
