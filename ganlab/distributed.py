"""Ranks of a distributed job, and the collectives that the package uses."""

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import Store, _get_default_group, _get_default_store

from ganlab.types import UserError

T = TypeVar("T")

ROUNDING = 1e-3
"""Relative to a tensor's norm: ranks on different hardware differ by less, a rank that missed a reduction by more."""


def processes_here() -> int:
    """Return the number of this run's processes on this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def world_size() -> int:
    """Return the number of processes: the group's once it is initialised, before that the launcher's."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return this process's rank."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))


def barrier() -> None:
    """Wait for the other processes, if there are any."""
    if dist.is_initialized():
        dist.barrier()


def average(values: Tensor) -> Tensor:
    """Average a tensor over the ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values.div_(dist.get_world_size())
    return values


def gather(values: list[Any]) -> list[Any]:
    """Return the values of all ranks in one list, on every rank."""
    if not dist.is_initialized():
        return values
    everyone: list[list[Any]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(everyone, values)
    return [value for others in everyone for value in others]


def gather_tensor(values: Tensor) -> Tensor:
    """Return the rows of all ranks, in the order of ranks, on every rank; without a gradient."""
    if not dist.is_initialized():
        return values
    everyone = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, values.contiguous())
    return torch.cat(everyone)


class SumOverRanks(torch.autograd.Function):
    """Sum a tensor over the ranks, and its gradients too: differentiable any number of times."""

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        """Return the sum on every rank."""
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Save nothing; `torch.func.grad` requires this form."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Every rank's output depends on every rank's input."""
        return sum_over_ranks(gradient)


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum a tensor over the ranks, differentiably."""
    total: Tensor = SumOverRanks.apply(values)
    return total


def gather_over_ranks(values: Tensor) -> Tensor:
    """Return every rank's values [ranks, ...], differentiably, by one sum in which a rank's other rows are zeros.

    A sum with zeros is exact, so all ranks hold the same bits.
    """
    rows = torch.arange(dist.get_world_size(), device=values.device) == dist.get_rank()
    return sum_over_ranks(torch.where(rows.view(-1, *[1] * values.ndim), values, values.new_zeros(())))


def samples_of_all_ranks(values: Tensor) -> Tensor:
    """Return the samples [n, ...] of all ranks in the order of ranks, differentiably: a loss may couple them."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return values
    return gather_over_ranks(values).flatten(0, 1)


def agree(failure: str | None) -> None:
    """Wait for all ranks, and raise the failures of any of them on all of them.

    Raises:
        UserError: lists the failures with their ranks.
    """
    if failures := gather([] if failure is None else [f"rank {rank()}: {failure}" if world_size() > 1 else failure]):
        raise UserError("; ".join(failures))


def decide(choose: Callable[[], T]) -> T:
    """Return on all ranks what `choose` returns on rank 0; its `UserError` is raised on all."""
    told: list[Any] = [None, None]
    if rank() == 0:
        try:
            told[0] = choose()
        except UserError as error:
            told[1] = str(error)
    if dist.is_initialized():
        dist.broadcast_object_list(told, 0)
    if told[1] is not None:
        raise UserError(told[1])
    chosen: T = told[0]
    return chosen


def differing(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of tensors that differ between ranks by more than rounding, with one gather.

    It compares each tensor's float64 sum and norm, relative to the norm. Sharded tensors are skipped.
    """
    from torch.distributed.tensor import DTensor  # slow, and for several processes alone

    named = [(name, value) for name, value in tensors if not isinstance(value, DTensor)]
    if not named:
        return []
    sums = torch.stack([value.detach().double().sum() for _, value in named])
    norms = torch.stack([value.detach().double().norm() for _, value in named])
    own = torch.stack([sums, norms])
    everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, own)
    counts = [not value.is_floating_point() for _, value in named]  # integers must agree exactly
    first, exact = everyone[0], torch.tensor(counts, device=own.device)
    tolerance = (ROUNDING * first[1]).masked_fill(exact, 0.0)
    same = torch.stack([torch.isclose(other, first, 0.0, 0.0, equal_nan=True) for other in everyone])
    same |= torch.stack([(other - first).abs() <= tolerance for other in everyone])
    return [name for (name, _), agreed in zip(named, same.all(0).all(0).tolist(), strict=True) if not agreed]


def is_lost(error: BaseException) -> bool:
    """Tell whether an error comes from a collective, which fails when another process is gone."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


# The only uses of torch's private names in the package. Torch's version has an upper bound, and the tests with dead,
# stopped and sleeping processes (tests/test_launch.py) would fail after a change.


def collectives_entered() -> int:
    """Return the number of collectives that this process has entered so far."""
    return int(_get_default_group()._get_sequence_number_for_group())  # type: ignore[attr-defined]


def store_of_job() -> Store:
    """Return a new connection to the job's rendezvous store."""
    return _get_default_store().clone()
