"""Statistics of small groups of samples, as an input to the discriminator."""

import torch
from torch import Tensor, nn


class MinibatchStd(nn.Module):
    """Append a channel that holds the standard deviation over each group (Karras et al. 2018, section 3).

    Groups are `group` consecutive samples; the paper's code takes strided ones, which is the same up to the order of
    the batch, but would depend on the number of processes. The variance is biased. `group` must divide every batch.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, images: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c + 1, h, w]."""
        grouped = images.to(torch.promote_types(images.dtype, torch.float32)).unflatten(0, (-1, self.group))
        deviation = (grouped.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # groups
        channel = deviation.repeat_interleave(self.group)[:, None, None, None].expand(-1, 1, *images.shape[2:])
        return torch.cat([images, channel.to(images.dtype)], dim=1)
