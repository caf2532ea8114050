"""Many processes: who this one is, and the averaging of gradients.

Gradients are averaged by hooks on the parameters, not by a wrapper around the network: whatever call path produced a
gradient (a compiled loss, a penalty through `torch.func.grad`, the bare module), it cannot miss the reduction.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import Parameter

from ganlab.experiment.frame import Machine
from ganlab.types import UserError

BUCKET_BYTES = 25 * 2**20
"""As in torch's own DDP: large enough to fill a link, small enough to begin while backward still runs."""


EQUAL = "every node must run equally many processes: state nodes and processes per node, not their product"

TORCHRUN_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Launch:
    """Which of how many processes this one is, as its launcher says."""

    launcher: str = "python"
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    processes_per_node: int = 1
    node: int = 0

    @property
    def nodes(self) -> int:
        """How many hosts take part."""
        return self.world_size // self.processes_per_node


def read_launch(environment: Mapping[str, str]) -> Launch:
    """Return what torchrun says, else what srun says to a step of several tasks; without them it is one process.

    A batch script or an interactive shell knows of an allocation with many tasks, and is still one process.
    Raises `UserError` for half a launch, and for nodes that run unequally many processes.
    """
    given = {name: environment[name] for name in TORCHRUN_NAMES if name in environment}
    if len(given) == len(TORCHRUN_NAMES):
        rank, world_size, local_rank, per_node = map(int, given.values())
        if world_size % per_node:
            raise UserError(f"LOCAL_WORLD_SIZE: {per_node} of {world_size} processes (WORLD_SIZE) are here: {EQUAL}")
        node = int(environment.get("GROUP_RANK", rank // per_node))
        return Launch("torchrun", rank, world_size, local_rank, per_node, node)
    if (tasks := int(environment.get("SLURM_STEP_NUM_TASKS", "1"))) > 1:
        text = environment["SLURM_STEP_TASKS_PER_NODE"]  # 2(x3),1 is 2, 2, 2, 1
        counts = set(re.findall(r"(?:^|,)(\d+)", text))
        if len(counts) > 1:
            raise UserError(f"SLURM_STEP_TASKS_PER_NODE: {text}: {EQUAL}")
        rank, local_rank, node = (int(environment[f"SLURM_{name}"]) for name in ("PROCID", "LOCALID", "NODEID"))
        return Launch("srun", rank, tasks, local_rank, int(counts.pop()), node)
    if given:
        missing = ", ".join(name for name in TORCHRUN_NAMES if name not in given)
        found = ", ".join(f"{name}={value}" for name, value in given.items())
        raise UserError(f"environment: {found} without {missing}; start with torchrun or srun, or unset what is set")
    return Launch()


def join(machine: Machine) -> Launch:
    """Find out who this process is, refuse what `machine` does not expect, and tell torch and Lightning.

    All that a run needs of its launcher is then in torch's own environment variables, whoever the launcher was.
    """
    launch = read_launch(os.environ)
    for name in ("nodes", "processes_per_node"):
        stated, given = getattr(machine, name), getattr(launch, name)
        if stated not in (None, given):
            raise UserError(
                f"machine.{name}: {stated}, but {launch.launcher} started {launch.world_size} process"
                f"{'es' * (launch.world_size > 1)}, {launch.processes_per_node} on each of {launch.nodes} node"
                f"{'s' * (launch.nodes > 1)}; start as many as the machine file states (see launch/README.md), "
                f"or write machine.{name}={given}"
            )
    if launch.launcher != "python":
        values = (launch.rank, launch.world_size, launch.local_rank, launch.processes_per_node)
        os.environ.update(zip(TORCHRUN_NAMES, map(str, values), strict=True), GROUP_RANK=str(launch.node))
    if launch.launcher == "srun":
        nodes = os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
        os.environ.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes))
        os.environ.setdefault("MASTER_PORT", str(15_000 + int(os.environ["SLURM_JOB_ID"]) % 10_000))
    return launch


def environment() -> TorchElasticEnvironment | LightningEnvironment:
    """Return what Lightning is to believe: after `join`, torch's variables.

    Left to itself it would find SLURM, requeue the job inside a signal handler, and hang.
    """
    return TorchElasticEnvironment() if world_size() > 1 else LightningEnvironment()


def processes_here() -> int:
    """Return the number of this run's processes on this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def world_size() -> int:
    """Return the number of processes: of the group once it is up, before that what the launcher promises."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return this process's number."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))


def barrier() -> None:
    """Wait for the other processes, where there are any."""
    if dist.is_initialized():
        dist.barrier()


def average(values: Tensor) -> Tensor:
    """Average a tensor over the ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values.div_(dist.get_world_size())
    return values


def gather(values: list[Any]) -> list[Any]:
    """Return the values of all ranks together, on every rank."""
    if not dist.is_initialized():
        return values
    everyone: list[list[Any]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(everyone, values)
    return [value for others in everyone for value in others]


def gather_tensor(values: Tensor) -> Tensor:
    """Return the rows of all ranks in their order, on every rank; without a gradient."""
    if not dist.is_initialized():
        return values
    everyone = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, values.contiguous())
    return torch.cat(everyone)


def differing(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of tensors that are not the same on all ranks, by two float64 sums of each; one gather.

    What is sharded is left out.
    """
    named = [(name, value) for name, value in tensors if not isinstance(value, DTensor)]
    if not named:
        return []
    sums = torch.stack([value.detach().double().sum() for _, value in named])
    squares = torch.stack([value.detach().double().square().sum() for _, value in named])
    own = torch.stack([sums, squares])
    everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, own)
    same = torch.stack([(other == everyone[0]) | (other.isnan() & everyone[0].isnan()) for other in everyone])
    return [name for (name, _), agreed in zip(named, same.all(0).all(0).tolist(), strict=True) if not agreed]


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
        self.views: list[tuple[Parameter, Tensor]] = []
        if dist.is_initialized() and dist.get_world_size() > 1:
            self._make_buckets()

    def clear(self) -> None:
        """Forget the last move's gradients."""
        if self.flat:
            torch._foreach_zero_(self.flat)
            for parameter, view in self.views:  # Lightning drops them all at the start of a fit, by `zero_grad`
                parameter.grad = view
        else:
            for parameter in self.parameters:
                parameter.grad = None

    def arm(self) -> None:
        """Let the coming backward, the last one of the move, send each bucket as soon as it is full."""
        self.armed = bool(self.flat)
        self.waiting = [len(bucket) for bucket in self.buckets]
        self.sent: list[dist.Work] = []
        self.reached: set[Parameter] = set()

    def finish(self) -> None:
        """Send what backward did not reach, wait, and turn sums into averages."""
        if self.armed:
            self.armed = False
            while len(self.sent) < len(self.flat):
                self._send()
            for work in self.sent:
                work.wait()
            torch._foreach_div_(self.flat, dist.get_world_size())
            for parameter in self.parameters:
                if parameter not in self.reached:
                    parameter.grad = None  # it took no part, and the optimizer leaves it be, as on one process

    def not_finite(self) -> Tensor:
        """Return for each parameter whether its gradient holds an infinity or a NaN, on the device, without a sync."""
        gradients = [p.new_zeros(()) if p.grad is None else p.grad for p in self.parameters]
        return ~torch.stack(torch._foreach_norm(gradients)).isfinite()

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
