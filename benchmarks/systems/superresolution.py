"""Super-resolution by 4 of quarters of photographs of signing hands, of 32 px: the first stage by L1, then the game.

Edge energy is the mean absolute difference of neighbouring pixels, of the enlarged images as a ratio to that of the
real ones: an average over possible details is too smooth. PSNR is of images in [-1, 1] with a border of 4 px cut.
"""

from collections.abc import Iterator

import torch
from rows import Row
from streams import photographs, played
from torch import Tensor

from ganlab.models.enlarging import bicubic
from ganlab.models.superresolution import SuperResolution

HELD_OUT = 100


def quarters(images: Tensor) -> Tensor:
    """Cut each image into four."""
    return images.unflatten(3, (2, -1)).unflatten(2, (2, -1)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def psnr(images: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio, dB, the mean over images."""
    errors = (images.clamp(-1, 1) - truth)[:, :, 4:-4, 4:-4].square().flatten(1).mean(1)
    return float((10 * (4 / errors).log10()).mean())


def edges(images: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels."""
    return float((images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()) / 2)


def rows(seed: int) -> Iterator[Row]:
    """Two runs, the second of which goes on where the first one ends."""
    images = photographs(64)
    test, train = quarters(images[:HELD_OUT]), {"real": quarters(images[HELD_OUT:])}
    energy, made = edges(test), {}
    for stage, changes in {"L1": ["train.total_nimg=10_000"], "the game": []}.items():
        model = played("signs/superres.yaml", seed, train, *changes)
        assert isinstance(model, SuperResolution)
        small = model.shrink(test)
        with torch.no_grad():
            made[stage] = torch.cat([model.enlarge(model.ema, part) for part in small.split(50)])
    plain = bicubic(small, model.scale)
    gain = psnr(made["L1"], test) - psnr(plain, test)
    name = "super-resolution, signs, by 4"
    yield Row(name, f"PSNR of L1 above bicubic's {psnr(plain, test):.2f} dB", gain, ">= 1 dB", gain >= 1)
    smooth, sharp = (edges(made[stage]) / energy for stage in ("L1", "the game"))
    nearer = abs(sharp - 1) < abs(smooth - 1)
    yield Row(name, "edge energy after the game, of the reals'", sharp, f"nearer 1 than L1's {smooth:.3f}", nearer)
    lost = psnr(made["L1"], test) - psnr(made["the game"], test)
    yield Row(name, "PSNR lost in the game, dB", lost, "<= 1.5", lost <= 1.5)
    again = float((model.shrink(made["the game"]) - small).abs().mean())
    yield Row(name, "error of the result made small again", again, "<= 0.02", again <= 0.02)
