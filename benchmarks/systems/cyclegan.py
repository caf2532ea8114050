"""CycleGAN on digits and the negatives of other digits: unpaired, and the right answer is known.

A translation of a digit that the run has not seen is compared with its negative. A copy is 1.35 off, and the mean
image 0.31 (mean absolute differences, of images in [-1, 1]).
"""

from collections.abc import Iterator

import torch
from rows import Row
from streams import digits, played

HELD_OUT = 360


def rows(seed: int) -> Iterator[Row]:
    """One run of 900 rounds."""
    images = digits()
    test, a, b = images[:HELD_OUT], images[HELD_OUT::2], -images[HELD_OUT + 1 :: 2]
    model = played("digits/cyclegan.yaml", seed, {"real": a, "other": b})
    with torch.no_grad():
        to_b, back_to_a = model.made_from(test, torch.empty(0)).values()
        to_a, _ = model.made_from_other(-test, torch.empty(0)).values()
    for quantity, made, truth, bar in (
        ("error of a to b", to_b, -test, 0.15),
        ("error of b to a", to_a, test, 0.15),
        ("error of a to b to a", back_to_a, test, 0.1),
    ):
        error = float((made - truth).abs().mean())
        yield Row("CycleGAN, digits and negatives", quantity, error, f"<= {bar}", error <= bar)
    correlation = float(torch.corrcoef(torch.stack([to_b.flatten(), -test.flatten()]))[0, 1])
    yield Row("CycleGAN, digits and negatives", "correlation with the truth", correlation, ">= 0.9", correlation >= 0.9)
