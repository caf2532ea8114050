"""The one-dimensional Gaussian of 2016, N(4, 0.5), over 32 seeds, with and without minibatch discrimination.

A hit is a mean within 0.5 of the truth after 5,000 rounds. A single seed proves nothing: some always miss. Without the
layer most generators end narrower than the data, which is what the layer is for (Salimans et al. 2016, section 3.2).
"""

from collections.abc import Iterator

import torch
from copies import many
from rows import Row

SEEDS, ROUNDS, BATCH, EXTENT = 32, 5000, 8, 8.0


def trained(config: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and standard deviations [seeds] of what the generators of a config draw."""
    game, _ = many(config, SEEDS, seed)
    draw = torch.Generator().manual_seed(seed)
    for number in range(ROUNDS):
        points = (4 + 0.5 * torch.randn(BATCH, SEEDS, 1, 1, generator=draw)) / EXTENT
        game.training_step((points, torch.full((BATCH,), -1)), number)
    with torch.no_grad():
        made = game.generator(torch.randn(4096, SEEDS, generator=draw), torch.full((4096,), -1))[:, :, 0, 0] * EXTENT
    return made.mean(0), made.std(0)


def rows(seed: int) -> Iterator[Row]:
    hits, deviations = {}, {}
    for name, config in (("", "toy/gaussian.yaml"), (", minibatch discrimination", "toy/gaussian_minibatch.yaml")):
        mean, std = trained(config, seed)
        near = (mean - 4).abs() < 0.5
        hits[name] = int(near.sum())
        system = f"1-D Gaussian{name}"
        yield Row(
            system, "median of the mean over 32 seeds", mean.median().item(), "4 +- .5", abs(mean.median() - 4) < 0.5
        )
        yield Row(system, "seeds within .5 of the mean", hits[name], "at least 12 of 32", hits[name] >= 12)
        deviations[name] = std.median().item()
    narrow, wide = deviations.values()
    target = f"narrower than with it, {wide:.3f}"
    yield Row("1-D Gaussian", "median of the deviation without the layer", narrow, target, narrow < wide)
    system = "1-D Gaussian, minibatch discrimination"
    yield Row(system, "median of the deviation, data .5", wide, ".25 to .75", 0.25 < wide < 0.75)
    without, kept = hits.values()
    yield Row("1-D Gaussian", "hits with the layer - without", kept - without, "at least -4", kept - without >= -4)
