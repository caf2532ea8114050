"""A Projected GAN on photographs of signing hands: does the small network learn, in minutes on one core?

At 32 px, with narrower networks than `configs/signs/projected.yaml`, whose images take a core of a CPU .4 s each. The
features see 128 px, the least that the four discriminators can do with. They were trained on ImageNet, as those of the
distance were, which therefore favours it.
"""

from collections.abc import Iterator

from learning import learned
from rows import Row

SHORT = (
    "data.image={height: 32, width: 32, channels: 3, classes: 10}",
    "model.width=16",
    "model.discriminator_width=16",
    "model.lr=1e-3",
    "train.batch=16",
    "train.total_nimg=6_000",
    "train.sample_every_nimg=1_000",
)
"""Few steps: larger ones than the paper's."""


def rows(seed: int) -> Iterator[Row]:
    """One run."""
    yield from learned("Projected GAN", "signs/projected.yaml", "sign_digits/sign_digits.zip", 32, seed, *SHORT)
