"""R3GAN on Fashion-MNIST: does the small network learn, in minutes on one core?"""

from collections.abc import Iterator

from learning import FASHION, learned
from rows import Row


def rows(seed: int) -> Iterator[Row]:
    """One run."""
    yield from learned("R3GAN", "fashion/r3gan.yaml", FASHION, 32, seed)
