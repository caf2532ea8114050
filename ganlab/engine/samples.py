"""Sampling with a game's averaged network: image i of a seed is always the same."""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ganlab.engine import sharding
from ganlab.pictures.grids import to_uint8
from ganlab.seeding import SAMPLE_BATCH, Noise
from ganlab.types import Images, ImageSpec, Labels, Latents, UserError


class Sampling(pl.LightningModule):
    """A module whose average `ema` maps latents and labels to images.

    Args:
        image: shape of its images.
        dtype: dtype of latents and images.
    """

    ema: nn.Module

    def __init__(self, image: ImageSpec, dtype: torch.dtype) -> None:
        super().__init__()
        self.image, self.real_dtype = image, dtype

    @property
    def latent(self) -> int:
        """Dimensions of the latent."""
        return int(self.ema.latent)  # type: ignore[arg-type]

    @property
    def classes(self) -> int:
        """Number of classes that samples can be conditioned on; 0 for none."""
        return int(self.ema.classes)  # type: ignore[arg-type]

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0, labels: Sequence[int] | None = None) -> Tensor:
        """Make `n` uint8 images [n, c, h, w] with the averaged network.

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

    def draw_latents(self, n: int, noise: Noise, name: str) -> tuple[Latents, Labels]:
        """Draw latents, and labels uniformly (-1 where the network takes none)."""
        latents = noise.normal(f"{name} latents", n, self.latent)
        if not self.classes:
            return latents, torch.full((n,), -1, device=latents.device)
        return latents, noise.classes(f"{name} labels", n, self.classes)
