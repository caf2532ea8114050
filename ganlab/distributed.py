"""Many processes: who this one is, and the averaging of gradients.

Gradients are averaged by hooks on the parameters, not by a wrapper around the network: whatever call path produced a
gradient (a compiled loss, a penalty through `torch.func.grad`, the bare module), it cannot miss the reduction.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.nn import Parameter

BUCKET_BYTES = 25 * 2**20
"""As in torch's own DDP: large enough to fill a link, small enough to begin while backward still runs."""


def world_size() -> int:
    """Return the number of processes: of the group once it is up, before that what the launcher promises."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return this process's number."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))


def average(values: Tensor) -> Tensor:
    """Average a tensor over the ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values.div_(dist.get_world_size())
    return values


class NoWrapStrategy(DDPStrategy):
    """Process group, barriers and launch of DDP without its wrapper: `Gradients` does the averaging."""

    def configure_ddp(self) -> None:
        """Begin from rank 0's weights."""
        assert self.lightning_module is not None
        for tensor in [*self.lightning_module.parameters(), *self.lightning_module.buffers()]:
            dist.broadcast(tensor.data, 0)


class Gradients:
    """The gradients of one player: cleared, and averaged over the ranks, in buckets, while backward still runs.

    For each move: `clear`, any number of backwards, `arm` before the last of them, `finish` after it. One process
    keeps torch's own gradients; several keep them as views of one flat tensor per bucket.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters = list(parameters)
        self.armed = False
        self.buckets: list[list[Parameter]] = []
        self.flat: list[Tensor] = []
        if dist.is_initialized() and dist.get_world_size() > 1:
            self._make_buckets()

    def clear(self) -> None:
        """Forget the last move's gradients."""
        if self.flat:
            torch._foreach_zero_(self.flat)
        else:
            for parameter in self.parameters:
                parameter.grad = None

    def arm(self) -> None:
        """Let the coming backward, the last one of the move, send each bucket as soon as it is full."""
        self.armed = bool(self.flat)
        self.waiting = [len(bucket) for bucket in self.buckets]
        self.sent: list[dist.Work] = []

    def finish(self) -> None:
        """Send what backward did not reach, wait, and turn sums into averages."""
        if self.armed:
            self.armed = False
            while len(self.sent) < len(self.flat):
                self._send()
            for work in self.sent:
                work.wait()
            torch._foreach_div_(self.flat, dist.get_world_size())

    def not_finite(self) -> Tensor:
        """Return 1.0 on the device if any gradient is infinite or not a number, else 0.0. Costs no host sync."""
        gradients = self.flat or [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients))
        return (~norms.sum().isfinite()).float()

    def _make_buckets(self) -> None:
        size = BUCKET_BYTES + 1
        for parameter in reversed(self.parameters):  # roughly the order in which backward makes gradients
            size += parameter.numel() * parameter.element_size()
            if size > BUCKET_BYTES:
                self.buckets.append([])
                size = parameter.numel() * parameter.element_size()
            self.buckets[-1].append(parameter)
        for number, bucket in enumerate(self.buckets):
            flat = bucket[0].new_zeros(sum(parameter.numel() for parameter in bucket))
            for parameter, piece in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                # The parameter's strides, so that a channels_last weight keeps the fused optimizer's fast path.
                parameter.grad = torch.as_strided(piece, parameter.shape, parameter.stride())
                parameter.register_post_accumulate_grad_hook(lambda _, number=number: self._arrived(number))
            self.flat.append(flat)

    def _arrived(self, bucket: int) -> None:
        if self.armed:
            self.waiting[bucket] -= 1
            # In order of buckets, the same on every rank, whatever order backward took.
            while len(self.sent) < len(self.flat) and self.waiting[len(self.sent)] == 0:
                self._send()

    def _send(self) -> None:
        work = dist.all_reduce(self.flat[len(self.sent)], async_op=True)
        assert work is not None
        self.sent.append(work)
