"""StyleGAN2 on photographs of signing hands: does the small network learn, in minutes on one core?"""

from collections.abc import Iterator

from learning import learned
from rows import Row


def rows(seed: int) -> Iterator[Row]:
    """One run."""
    yield from learned("StyleGAN2", "signs/stylegan2.yaml", "sign_digits/sign_digits.zip", 64, seed)
