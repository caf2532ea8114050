"""The averaging of gradients over processes.

Hooks on the parameters do it, not a wrapper around the network: no call path that produces a gradient (a compiled
loss, a penalty through `torch.func.grad`, the bare module) can bypass the reduction.
"""

from collections.abc import Iterable
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

BUCKET_BYTES = 25 * 2**20
"""As in torch's DDP: large enough to saturate a link, small enough to start while backward still runs."""


class Gradients:
    """The gradients of one player, averaged over the ranks in buckets while backward still runs.

    For each step: `clear`, any number of backward passes, `arm` before the last of them, `finish` after it. With
    several processes the gradients are views of one flat tensor per bucket.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters = list(parameters)
        self.armed = False
        self.buckets: list[list[Parameter]] = []
        self.flat: list[Tensor] = []
        self.views: list[tuple[Parameter, Tensor]] = []
        if dist.is_initialized() and dist.get_world_size() > 1:
            self._make_buckets()

    def clear(self) -> None:
        """Clear the last step's gradients."""
        if self.flat:
            torch._foreach_zero_(self.flat)
            for parameter, view in self.views:  # Lightning's `zero_grad` drops them all at the start of a fit
                parameter.grad = view
        else:
            for parameter in self.parameters:
                parameter.grad = None

    def arm(self) -> None:
        """Make the next backward pass, the last of the step, send each bucket as soon as it is full."""
        self.armed = bool(self.flat)
        self.waiting = [sum(parameter.requires_grad for parameter in bucket) for bucket in self.buckets]
        self.sent: list[dist.Work] = []
        self.reached: set[Parameter] = set()

    def finish(self) -> None:
        """Send the buckets that backward did not fill, wait for all, and divide the sums."""
        if self.armed:
            self.armed = False
            while len(self.sent) < len(self.flat):
                self._send()
            for work in self.sent:
                work.wait()
            torch._foreach_div_(self.flat, dist.get_world_size())
            for parameter in self.parameters:
                if parameter not in self.reached:
                    parameter.grad = None  # unused in this step: the optimizer skips it, as on one process

    def norms(self) -> Tensor:
        """Return the norm of each parameter's gradient, on the device, without a sync; a bad gradient has none."""
        gradients = [p.new_zeros(()) if p.grad is None else p.grad for p in self.parameters]
        return torch.stack(torch._foreach_norm(gradients))

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
                self.views.append((parameter, torch.as_strided(piece, parameter.shape, parameter.stride())))
                parameter.register_post_accumulate_grad_hook(partial(self._arrived, number))
            self.flat.append(flat)

    def _arrived(self, bucket: int, parameter: Parameter) -> None:
        if self.armed:
            self.reached.add(parameter)
            self.waiting[bucket] -= 1
            # In order of buckets, the same on every rank, whatever order backward took.
            while len(self.sent) < len(self.flat) and self.waiting[len(self.sent)] == 0:
                self._send()

    def _send(self) -> None:
        work = dist.all_reduce(self.flat[len(self.sent)], async_op=True)
        assert work is not None
        self.sent.append(work)
