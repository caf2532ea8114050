"""A Projected GAN on photographs of signing hands: does the small network learn, in minutes on one core?

Its discriminator sees features that were trained on ImageNet, as those of the distance were: it is favoured.
"""

from collections.abc import Iterator

from learning import learned
from rows import Row


def rows(seed: int) -> Iterator[Row]:
    """One run."""
    yield from learned("Projected GAN", "signs/projected.yaml", "sign_digits/sign_digits.zip", 64, seed)
