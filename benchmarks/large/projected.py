"""A Projected GAN on photographs of signing hands: does the small network learn?

It needs a GPU: its frozen network takes a core of a CPU hours. That network was trained on ImageNet, as the one of the
distance was, which therefore favours it.
"""

import sys
from collections.abc import Iterator

import torch
from learning import learned
from rows import Row


def rows(seed: int) -> Iterator[Row]:
    """One run, on a GPU."""
    if torch.cuda.is_available():
        yield from learned("Projected GAN", "signs/projected.yaml", "sign_digits/sign_digits.zip", 64, seed)
    else:
        print("projected: not run, torch sees no GPU here", file=sys.stderr)
