"""pix2pix from edges to photographs of signing hands at 32 px, on pairs that the run has not seen.

Edge energy is the mean absolute difference of neighbouring pixels, as a ratio to the photographs'. Run as a program, it
writes the two folders of images that `ganlab data pack edges data/edges2signs --with photographs --size 32` packs.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from rows import Row
from streams import photographs, played
from torch import Tensor
from torch.nn.functional import conv2d, pad

from systems.superresolution import edges

HELD_OUT = 200


def sobel(images: Tensor) -> Tensor:
    """The strength of edges (Sobel & Feldman 1968), black on white in all channels: [n, 3, h, w] in [-1, 1]."""
    grey = pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    gradients = conv2d(grey, torch.stack([across, across.T])[:, None] / 4)
    return (1 - 2 * gradients.square().sum(1, keepdim=True).sqrt().clamp(max=1)).expand(-1, 3, -1, -1)


def rows(seed: int) -> Iterator[Row]:
    """One run."""
    images = photographs(32)
    pairs = torch.cat([sobel(images), images], 2)
    model = played("signs/edges2photo.yaml", seed, {"real": pairs[HELD_OUT:]})
    with torch.no_grad():
        _, made, truth = model.made_from(pairs[:HELD_OUT], torch.empty(0)).values()
    energy = edges(made) / edges(truth)
    yield Row("pix2pix, edges to hands", "edge energy, of the photographs'", energy, "0.8 to 1.2", 0.8 <= energy <= 1.2)
    error, mean = (float((each - truth).abs().mean()) for each in (made, images[HELD_OUT:].mean(0)))
    yield Row("pix2pix, edges to hands", "error", error, f"below {mean:.3f} of the mean image", error < mean)


if __name__ == "__main__":
    from ganlab.pictures.grids import to_pil, to_uint8
    from ganlab.pictures.tiles import save_png

    photos = photographs(32)
    for name, kind in (("edges", sobel(photos)), ("photographs", photos)):
        folder = Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(to_uint8(kind)):
            save_png(to_pil(image), folder / f"{number:04d}.png")
