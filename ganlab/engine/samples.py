"""Sampling with a game's averaged network: image i of a seed is always the same."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ganlab.classes import numbers_of
from ganlab.engine import sharding
from ganlab.pictures.grids import to_uint8
from ganlab.seeding import SAMPLE_BATCH, Noise
from ganlab.types import Images, ImageSpec, Labels, Latents, UserError


def blocks(numbers: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Group numbers of images by the block of `SAMPLE_BATCH` that they lie in: its first number, and they."""
    for block, wanted in groupby(sorted(set(numbers)), lambda i: i // SAMPLE_BATCH):
        yield block * SAMPLE_BATCH, list(wanted)


class Sampling(pl.LightningModule):
    """A module whose average `ema` maps latents and labels to images.

    Args:
        image: shape of its images.
        dtype: dtype of latents and images.
    """

    ema: nn.Module
    encoder_ema: nn.Module
    columns: int | None = None
    """Samples in a row of a grid, where their order has a meaning."""

    def __init__(self, image: ImageSpec, dtype: torch.dtype) -> None:
        super().__init__()
        self.image, self.real_dtype = image, dtype

    @property
    def latent(self) -> int:
        """Dimensions of the latent; 0 for a game that makes no images of latents."""
        return int(getattr(self.ema, "latent", 0))

    @property
    def classes(self) -> int:
        """Number of classes that samples can be conditioned on; 0 for none."""
        return int(getattr(self.ema, "classes", 0))

    @torch.no_grad()
    def sample(self, n: int | Sequence[int], seed: int = 0, labels: Sequence[int | str] | None = None) -> Tensor:
        """Make uint8 images [n, c, h, w] with the averaged network: the first `n` of a seed, or those of some numbers.

        Image i of a seed is always the same. `labels` are names or numbers of classes: image i gets label i, and they
        are repeated as often as needed; None draws them uniformly.
        """
        numbers = range(n) if isinstance(n, int) else n
        if not self.latent:
            raise UserError(f"{type(self).__name__}: makes no images")
        if not numbers or min(numbers) < 0:
            raise UserError(f"n: {n} images; ask for at least 1, or for numbers from 0")
        if labels is not None:
            if not self.classes:
                raise UserError("labels: this generator takes none; it was trained without classes")
            if not labels:
                raise UserError("labels: none given; name at least one, or leave the argument out to draw them")
        chosen = None if labels is None else numbers_of(labels, self.image)
        made: dict[int, Tensor] = {}
        for start, wanted in blocks(numbers):
            images, _ = self.synthesize(start, seed, "sample", chosen)
            made |= zip(wanted, to_uint8(images)[[i - start for i in wanted]], strict=True)
        return torch.stack([made[i] for i in numbers])

    @torch.no_grad()
    def synthesize(
        self, start: int, seed: int, name: str, labels: Sequence[int] | None = None
    ) -> tuple[Images, Labels]:
        """Make the `SAMPLE_BATCH` images from number `start` on with the averaged network; `start` is a multiple."""
        noise = Noise(seed, 0, start, dtype=self.real_dtype)  # drawn on the CPU: the same on every machine
        latents, classes = self.draw_latents(SAMPLE_BATCH, noise, name)
        if labels is not None:
            classes = torch.tensor([labels[i % len(labels)] for i in range(start, start + SAMPLE_BATCH)])
        sharding.gather(self.ema)
        images = self.averaged(latents.to(self.device), classes.to(self.device))
        sharding.release(self.ema)
        return images, classes

    def averaged(self, latents: Latents, labels: Labels) -> Images:
        """Run the averaged network; images have the full size, even while training is at a smaller one."""
        return self.ema(latents, labels)  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode(self, images: Tensor) -> Latents:
        """Return the codes [n, latent] of uint8 images [n, c, h, w], or of floats in [-1, 1].

        Only for games that average a network named `encoder`, which is used in evaluation mode.
        """
        if not hasattr(self, "encoder_ema"):
            raise UserError(
                f"encode: a {type(self).__name__} has no encoder; `ganlab invert` searches for codes instead"
            )
        if images.dtype == torch.uint8:
            images = images.to(self.real_dtype) / 127.5 - 1
        sharding.gather(self.encoder_ema)
        codes = self.encoded(images.to(self.device, self.real_dtype))
        sharding.release(self.encoder_ema)
        return codes

    def encoded(self, images: Images) -> Latents:
        """Run the averaged encoder; where codes are random, their mean."""
        return self.encoder_ema(images)  # type: ignore[no-any-return]

    def draw_latents(self, n: int, noise: Noise, name: str) -> tuple[Latents, Labels]:
        """Draw latents, and labels uniformly (-1 where the network takes none)."""
        latents = noise.normal(f"{name} latents", n, self.latent)
        if not self.classes:
            return latents, torch.full((n,), -1, device=latents.device)
        return latents, noise.classes(f"{name} labels", n, self.classes)
