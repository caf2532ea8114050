"""What a discriminator sees of a sample's group: statistics of several samples, as its input."""

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


class MinibatchDiscrimination(nn.Module):
    """Append how near each sample is to those of its group, by learned kernels (Salimans et al. 2016, section 3.2).

    With M_i = f(x_i) T, [kernels, dims], sample i gets o_b = sum_j exp(-|M_ib - M_jb|_1) for each kernel b. The sum is
    over all j as in the paper; without i itself, as in its code, it would be smaller by 1, a matter of the next bias.

    Args:
        features: of the input.
        kernels: features that are appended.
        dims: dimensions in which a kernel measures distance.
        group: consecutive samples that are compared. It must divide every batch.
    """

    def __init__(self, features: int, *, kernels: int = 100, dims: int = 5, group: int) -> None:
        super().__init__()
        self.group = group
        self.weight = nn.Parameter(0.02 * torch.randn(features, kernels, dims))

    def forward(self, features: Tensor) -> Tensor:
        """[n, features] to [n, features + kernels]."""
        projected = torch.einsum("nf,fkd->nkd", features, self.weight)
        grouped = projected.to(torch.promote_types(projected.dtype, torch.float32)).unflatten(0, (-1, self.group))
        distance = (grouped[:, :, None] - grouped[:, None]).abs().sum(-1)  # groups i j kernels
        near = (-distance).exp().sum(2).flatten(0, 1)  # n kernels
        return torch.cat([features, near.to(features.dtype)], dim=1)
