"""LAPGAN on Fashion-MNIST at 32 px: is its detail as strong as that of photographs, and does it help?

Distances are sliced Wasserstein distances over patches of 7 px at 32 px, of 2,048 images a side (Karras et al. 2018),
of LAPGAN's samples, and of its coarse images enlarged; then kernel distances of the pixels.
"""

from collections.abc import Iterator

import torch
from rows import Row
from streams import fashion, played
from torch import Tensor

from ganlab.layers.pyramid import doubled, pyramid
from ganlab.metrics.kernel import kernel_distance
from ganlab.metrics.swd import descriptors, sliced_wasserstein
from ganlab.models.lapgan import LAPGAN
from ganlab.pictures.grids import to_uint8

COUNT = 2048


def finest(images: Tensor) -> Tensor:
    """Patches of the finest level."""
    return descriptors(to_uint8(images), seed=0)[0]


def rows(seed: int) -> Iterator[Row]:
    """One run."""
    images = fashion()
    reals = images[:COUNT]
    model = played("fashion/lapgan.yaml", seed, {"real": images[COUNT:]})
    assert isinstance(model, LAPGAN)
    with torch.no_grad():
        fakes = torch.cat([model.synthesize(start, seed, "benchmark")[0] for start in range(0, COUNT, 64)])
        details = pyramid(reals, 8)[1:]
        energies = []
        for number, (detail, level) in enumerate(zip(details, model.levels[1:], strict=True), 1):
            coarse = pyramid(reals, model.levels[number - 1].height)[0]
            noise = 2 * torch.rand(COUNT, level.height * level.width) - 1
            none = torch.full((COUNT,), -1)
            made = getattr(model, f"generator_{level.height}_ema")(noise, doubled(coarse), none)
            energies.append((level.height, float(made.square().mean() / detail.square().mean())))
    for height, energy in energies:
        yield Row("LAPGAN, fashion", f"energy of detail at {height} px", energy, "0.7 to 1.3", 0.7 <= energy <= 1.3)
    smooth = doubled(doubled(pyramid(fakes, 8)[0]))
    for name, distance in (
        ("SWD", lambda side: sliced_wasserstein(finest(side), finest(reals))),
        ("kid of pixels", lambda side: kernel_distance(side.flatten(1), reals.flatten(1))[0]),
    ):
        ours, coarse = distance(fakes), distance(smooth)
        yield Row("LAPGAN, fashion", name, ours, f"below {coarse:.4g} of its coarse images enlarged", ours < coarse)
