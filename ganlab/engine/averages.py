"""The averaged generator: how it follows the live one, and what is made with it."""

import copy
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ganlab.engine import sharding
from ganlab.layers.batchnorm import gather_statistics
from ganlab.pictures.grids import to_uint8
from ganlab.seeding import Noise
from ganlab.types import Images, ImageSpec, Labels, Latents, UserError

SAMPLE_BATCH = 64
"""Samples are always made this many at a time, so that image i of a seed is the same whatever is asked for."""


class Averaged(pl.LightningModule):
    """A generator and its average over the moves, with which samples are made.

    Args:
        generator: the live one.
        image: what its images are.
        dtype: of latents and images.
    """

    def __init__(self, generator: nn.Module, image: ImageSpec, dtype: torch.dtype) -> None:
        super().__init__()
        self.generator, self.image, self.real_dtype = generator, image, dtype
        self.ema = copy.deepcopy(generator).eval().requires_grad_(False)
        self.latent, self.classes = int(generator.latent), int(generator.classes)  # type: ignore[arg-type]

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0, labels: Sequence[int] | None = None) -> Tensor:
        """Make `n` uint8 images [n, c, h, w] with the averaged generator.

        Image i of a seed is the same for any n. `labels` are repeated as often as needed; None draws them uniformly.
        """
        if n < 1:
            raise UserError(f"n: {n} images; ask for at least 1")
        if labels is not None:
            if not self.classes:
                raise UserError("labels: this generator takes none; it was trained without classes")
            if not labels:
                raise UserError("labels: none given; name at least one, or leave the argument out to draw them")
            if wrong := [label for label in labels if not 0 <= label < self.image.classes]:
                raise UserError(f"labels: {wrong} are not classes; write numbers from 0 to {self.image.classes - 1}")
        batches = []
        for start in range(0, n, SAMPLE_BATCH):
            images, _ = self.synthesize(start, seed, "sample", labels)
            batches.append(to_uint8(images[: n - start]))
        return torch.cat(batches)

    @torch.no_grad()
    def synthesize(
        self, start: int, seed: int, name: str, labels: Sequence[int] | None = None
    ) -> tuple[Images, Labels]:
        """Make the `SAMPLE_BATCH` images from number `start` on with the averaged generator; `start` is a multiple."""
        noise = Noise(seed, 0, start, dtype=self.real_dtype)  # drawn on the CPU: the same on every machine
        latents, classes = self.draw(SAMPLE_BATCH, noise, name)
        if labels is not None:
            classes = torch.tensor([labels[i % len(labels)] for i in range(start, start + SAMPLE_BATCH)])
        sharding.gather(self.ema)
        images = self.averaged(latents.to(self.device), classes.to(self.device))
        sharding.release(self.ema)
        return images, classes

    def averaged(self, latents: Latents, labels: Labels) -> Images:
        """Run the averaged generator: images of the full size, whatever size the moves are at."""
        return self.ema(latents, labels)  # type: ignore[no-any-return]

    def draw(self, n: int, noise: Noise, name: str) -> tuple[Latents, Labels]:
        """Draw latents, and labels uniformly (-1 where the generator takes none)."""
        latents = noise.normal(f"{name} latents", n, self.latent)
        if not self.classes:
            return latents, torch.full((n,), -1, device=latents.device)
        return latents, noise.classes(f"{name} labels", n, self.classes)

    def follow(self, weight: float) -> None:
        """Move the average towards the live generator, by `weight` of the way."""
        average, live = (sharding.local(network.parameters()) for network in (self.ema, self.generator))
        with torch.no_grad():
            torch._foreach_lerp_(average, live, weight)
        self._copy_buffers()

    def settle(self) -> None:
        """Make the ranks agree on what each has averaged for itself; to be called on all of them before it is read."""
        gather_statistics(self.generator)
        self._copy_buffers()

    def _copy_buffers(self) -> None:
        # Counts and statistics are no weights: never interpolated.
        if buffers := list(self.ema.buffers()):
            torch._foreach_copy_(buffers, list(self.generator.buffers()))
