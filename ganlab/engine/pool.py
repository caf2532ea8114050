"""Pools of past images, which a discriminator sees beside the newest ones (Shrivastava et al. 2017, section 2.3)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ganlab import distributed
from ganlab.seeding import Noise
from ganlab.types import Images, ImageSpec, UserError


class Pool(nn.Module):
    """The last images of one kind, the same on all ranks and saved with the game (Zhu et al. 2017, section 4).

    While it fills, images are stored and returned. Then each one is, with a probability of a half, exchanged with a
    random one of the pool. The images of a batch get different places; for a batch of one this is the authors' rule.

    Args:
        size: number of images.
        image: their shape.
        dtype: of the images.
    """

    images: Tensor
    count: Tensor

    def __init__(self, size: int, image: ImageSpec, dtype: torch.dtype) -> None:
        super().__init__()
        shape = size, image.channels, image.height, image.width
        self.register_buffer("images", torch.zeros(shape, dtype=dtype))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, made: Images, name: str, noise: Noise) -> Images:
        """Store this rank's new images, and return as many of which some are old.

        `noise` begins at the first sample of the global batch: the draws are the same on all ranks. No host sync.
        """
        everyone = distributed.gather_tensor(made)
        n, size = len(everyone), len(self.images)
        if n > size:
            raise UserError(f"train.batch: {n} images for a pool of {size}; write a smaller one or a larger model.pool")
        full, first = self.count >= size, self.count + torch.arange(n, device=made.device)
        chosen = replace(noise, group=size).uniform(f"{name} slots", size).argsort()[:n]
        slots = torch.where(full, chosen, first % size)
        old = self.images[slots]
        swaps = full & (noise.uniform(f"{name} swaps", n) < 0.5)
        stored = (swaps | (first < size))[:, None, None, None]
        self.images[slots] = torch.where(stored, everyone, old)
        self.count.add_(n).clamp_(max=size)
        shown = torch.where(swaps[:, None, None, None], old, everyone)
        start = distributed.rank() * len(made)
        return shown[start : start + len(made)]
