"""Batch norm whose result does not depend on the number of processes.

Torch's BatchNorm normalises over one process's share of the batch, and its SyncBatchNorm refuses CPU tensors.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.distributed import gather_over_ranks


class Standardization(nn.Module):
    """Normalise channels of images [n, c, h, w] to mean 0 and variance 1 (Ioffe & Szegedy 2015); base of batch norms.

    Args:
        channels: c.
        group: None takes the statistics of the batch of all ranks, a number those of so many consecutive samples, as in
            papers with per-GPU statistics. It must divide every rank's share of the batch.
        running: keep running averages of the statistics for evaluation. Without them (in a discriminator, which does
            not use them) the layer is a pure function, as penalties require.
        eps: added to the variance.
        momentum: weight of the newest statistics in the running averages.

    With groups each rank averages its own groups' statistics; `gather_statistics` averages them over the ranks.
    Micro-batches change a batch norm over the whole batch, but not one over groups that divide them.
    """

    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(
        self, channels: int, *, group: int | None = None, running: bool = True, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.group, self.eps, self.momentum = group, eps, momentum
        self.register_buffer("running_mean", torch.zeros(channels) if running else None)
        self.register_buffer("running_var", torch.ones(channels) if running else None)

    def standardize(self, images: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Standardize [n, c, h, w], then scale and shift by channel [c]."""
        if not self.training and self.running_mean is not None:
            return F.batch_norm(images, self.running_mean, self.running_var, weight, bias, eps=self.eps)
        if self.group is not None:
            return self._over_groups(images, self.group, weight, bias)
        if dist.is_initialized() and dist.get_world_size() > 1:
            return self._over_ranks(images, weight, bias)
        return F.batch_norm(images, self.running_mean, self.running_var, weight, bias, True, self.momentum, self.eps)

    def _over_groups(self, images: Tensor, group: int, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        wide = images.to(torch.promote_types(images.dtype, torch.float32)).unflatten(0, (-1, group))  # groups g c h w
        var, mean = torch.var_mean(wide, (1, 3, 4), correction=0, keepdim=True)  # groups 1 c 1 1
        count = group * images.shape[2] * images.shape[3]
        self._remember(mean.mean((0, 1, 3, 4)), var.mean((0, 1, 3, 4)), count)
        return self._normal(wide, mean, var, weight, bias).flatten(0, 1).to(images.dtype)

    def _over_ranks(self, images: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        wide = images.to(torch.promote_types(images.dtype, torch.float32))
        var, mean = torch.var_mean(wide, (0, 2, 3), correction=0)
        vars_, means = gather_over_ranks(torch.stack([var, mean])).unbind(1)  # ranks c
        # Chan et al. 1979, eq. 2.1 for equal shares: E[x^2] - E[x]^2 would cancel.
        var_of_means, mean = torch.var_mean(means, 0, correction=0)
        var = vars_.mean(0) + var_of_means
        self._remember(mean, var, wide.numel() // wide.shape[1] * len(means))
        centred = wide - mean[:, None, None]  # far from zero, the gradients of `mean * scale` would cancel
        var = var[:, None, None]
        return self._normal(centred, torch.zeros_like(var), var, weight, bias).to(images.dtype)

    def _normal(self, images: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Normalise, scale and shift; `mean` and `var` are [..., c, 1, 1]."""
        scale = torch.rsqrt(var + self.eps)
        scale = scale if weight is None else weight.view(-1, 1, 1) * scale
        shift = -mean * scale if bias is None else bias.view(-1, 1, 1) - mean * scale
        return torch.addcmul(shift, images, scale)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor, count: int) -> None:
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = var * (count / (count - 1))  # as torch keeps it
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)


class BatchNorm(Standardization):
    """Standardize each channel, then scale and shift it; the arguments are `Standardization`'s."""

    def __init__(
        self, channels: int, *, group: int | None = None, running: bool = True, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(channels, group=group, running=running, eps=eps, momentum=momentum)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, images: Tensor) -> Tensor:
        """[n, c, h, w] to the same."""
        return self.standardize(images, self.weight, self.bias)


class ConditionalBatchNorm(Standardization):
    """Standardize each channel over all classes, then scale and shift it by class (Dumoulin et al. 2017).

    Every class begins with a gain of 1 and a bias of 0. `classes` is their number.
    """

    def __init__(self, channels: int, classes: int, *, group: int | None = None, eps: float = 1e-5) -> None:
        super().__init__(channels, group=group, eps=eps)
        self.weight = nn.Parameter(torch.ones(classes, channels))
        self.bias = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """[n, c, h, w] and classes [n] to images."""
        gain, bias = (F.embedding(labels, table)[..., None, None] for table in (self.weight, self.bias))  # n c 1 1
        return torch.addcmul(bias, self.standardize(images), gain).to(images.dtype)


class AdaptiveBatchNorm(Standardization):
    """Standardize each channel, then scale by 1 + A c and shift by B c, with a condition c (Brock et al. 2019, app. B).

    `features` are those of the condition. Its two linear layers have no bias.
    """

    def __init__(self, channels: int, features: int, *, group: int | None = None, eps: float = 1e-5) -> None:
        super().__init__(channels, group=group, eps=eps)
        self.gain = nn.Linear(features, channels, bias=False)
        self.bias = nn.Linear(features, channels, bias=False)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """[n, c, h, w] and conditions [n, features] to images."""
        gain, bias = 1 + self.gain(condition)[..., None, None], self.bias(condition)[..., None, None]  # n c 1 1
        return torch.addcmul(bias, self.standardize(images), gain).to(images.dtype)


def keeps_statistics(network: nn.Module) -> bool:
    """Tell whether a pass through a network in training writes running statistics."""
    return any(isinstance(layer, Standardization) and layer.running_mean is not None for layer in network.modules())


@contextmanager
def restarted(network: nn.Module, batch: int) -> Iterator[Callable[[int], None]]:
    """Let running statistics be averages over the passes of this context, from its first one on; then keep them.

    Yields what is to be called with the number of each pass, from 0, before it. A pass has `batch` images, the same on
    all ranks: batch norms over the batch of all ranks take it for a group, and do not communicate.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, Standardization)]
    before = [(norm.group, norm.momentum, norm.training) for norm in norms]

    def begin(number: int) -> None:
        for norm in norms:
            norm.momentum = 1 / (number + 1)

    for norm in norms:
        norm.group = norm.group or batch
        norm.train()
    try:
        yield begin
    finally:
        for norm, (group, momentum, training) in zip(norms, before, strict=True):
            norm.group, norm.momentum = group, momentum
            norm.train(training)


@torch.no_grad()
def gather_statistics(network: nn.Module) -> None:
    """Average the running statistics of batch norms over groups across the ranks.

    They are linear in the groups' statistics, so averaging them before they are read equals averaging at every step.
    """
    if dist.is_initialized() and dist.get_world_size() > 1:
        layers = (
            layer for layer in network.modules() if isinstance(layer, Standardization) and layer.group is not None
        )
        if buffers := [buffer for layer in layers for buffer in layer.buffers()]:
            flat = torch.cat(buffers)
            dist.all_reduce(flat)
            torch._foreach_copy_(buffers, flat.div_(dist.get_world_size()).split([len(buffer) for buffer in buffers]))
