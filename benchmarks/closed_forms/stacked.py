"""Stacked digits, 1,000 modes, with and without packing: modes found, and the divergence of their frequencies.

A channel's digit is the glyph that correlates best with it, over all places; real pictures are read without a mistake.
A sample counts where every channel's correlation is above 0.7: a classifier alone would find modes in noise. As many
samples as in Srivastava et al. 2017, 26,000; of a uniform distribution their divergence would be 0.019.

There is no bar. Lin et al. 2018 find the gap after 100,000 steps (table 2) or 500,000 (table 3); here are 3,125, and
few samples can be read. What packing does is shown on the ring (`packing.py`), on eight seeds and in a minute.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from rows import Row
from torch import Tensor
from torch.nn.functional import normalize

from ganlab.data.read.distributions import FONT
from ganlab.data.read.loader import BatchLoader
from ganlab.data.read.open import open_data
from ganlab.engine.game import Game
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.seeding import Noise
from ganlab.types import Phase

CONFIGS = Path(__file__).parents[2] / "configs" / "digits"
SIZE, SCALE, SAMPLES, READABLE = 16, 3, 26_000, 0.7


def glyphs() -> tuple[Tensor, Tensor]:
    """All digits at all places [glyphs, pixels], of mean 0 and length 1; and which digit each is."""
    found, digits = [], []
    for digit, top, left in product(range(10), range(SIZE - 5 * SCALE + 1), range(SIZE - 3 * SCALE + 1)):
        picture = np.zeros((SIZE, SIZE))
        picture[top : top + 5 * SCALE, left : left + 3 * SCALE] = np.kron(FONT[digit], np.ones((SCALE, SCALE)))
        found.append(picture.ravel())
        digits.append(digit)
    flat = torch.tensor(np.array(found), dtype=torch.float32)
    return normalize(flat - flat.mean(1, keepdim=True)), torch.tensor(digits)


def read(images: Tensor, known: tuple[Tensor, Tensor]) -> Tensor:
    """The numbers 0 to 999 that images [n, 3, 16, 16] show, of those that can be read."""
    flat = images.flatten(2)
    likeness, which = (normalize(flat - flat.mean(2, keepdim=True), dim=2) @ known[0].T).max(2)  # n 3
    return (known[1][which] @ torch.tensor([100, 10, 1]))[(likeness > READABLE).all(1)]


def trained(config: str, seed: int) -> Game:
    """The game at the end of its config."""
    found = load(CONFIGS / config, overrides=[f"seed={seed}"])
    torch.set_num_threads(1)
    model = build_model(found)
    model.configure_optimizers()
    data = open_data(found.data.url)
    phase = Phase(0, data.image, found.train.batch)
    loader = BatchLoader(data, plan=lambda nimg: phase, seed=seed)
    for number, batch in zip(range(found.train.total_nimg // found.train.batch), loader, strict=False):
        model.training_step(batch, number)
    return model


def modes(model: Game) -> tuple[int, float, float]:
    """Modes among the samples of the average, KL(their frequencies | uniform), and the share that can be read."""
    model.settle()
    counts, known = torch.zeros(1000), glyphs()
    with torch.no_grad():
        for start in range(0, SAMPLES, 1000):
            latents, labels = model.draw_latents(1000, Noise(0, 0, start, 1000), "modes")
            counts += torch.bincount(read(model.averaged(latents, labels), known), minlength=1000)
    p = counts / counts.sum()
    divergence = (torch.special.xlogy(p, p).sum() + np.log(1000)).item()
    return int((counts > 0).sum()), divergence, (counts.sum() / SAMPLES).item()


def rows(seed: int) -> Iterator[Row]:
    real = open_data("toy:digits?size=16&channels=3").places(np.arange(2000), SIZE)
    images = torch.tensor(np.stack([place.pixels for place in real])).permute(0, 3, 1, 2).float()
    numbers = read(images, glyphs())
    right = len(numbers) == 2000 and torch.equal(numbers, torch.tensor([place.label for place in real]))
    yield Row("stacked digits", "all of 2,000 real pictures read rightly", right, "1", right)
    for name, system in (("stacked", "stacked digits, GAN"), ("stacked_packed", "stacked digits, packs of 2")):
        count, far, readable = modes(trained(f"{name}.yaml", seed))
        yield Row(system, "share that can be read", readable, "no bar", True)
        yield Row(system, "modes of 1,000", count, "no bar", True)
        yield Row(system, "KL(samples | uniform)", far, "no bar", True)
