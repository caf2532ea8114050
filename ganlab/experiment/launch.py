"""Launchers: the rank of this process, its device, and the process group."""

import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from ganlab import distributed
from ganlab.experiment.frame import Machine
from ganlab.types import UserError

GRACE_SECONDS = 30
"""Seconds by which torch's timeout exceeds the heartbeat's; processes also wait that long for each other to start."""

EQUAL = "every node must run equally many processes: state nodes and processes per node, not their product"

TORCHRUN_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Launch:
    """The rank and the number of processes, as the launcher says."""

    launcher: str = "python"
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    processes_per_node: int = 1
    node: int = 0

    @property
    def nodes(self) -> int:
        """Number of hosts."""
        return self.world_size // self.processes_per_node


def read_launch(environment: Mapping[str, str]) -> Launch:
    """Read torchrun's variables, else those of an srun step with several tasks; without them it is one process.

    A batch script or an interactive shell in an allocation with many tasks is still one process. Raises `UserError` for
    incomplete variables, and for nodes that run different numbers of processes.
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
    """Read the launcher's variables, refuse what `machine` does not expect, and set torch's variables.

    Afterwards torch's environment variables describe the job, whatever the launcher.
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
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        nodes = os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
        os.environ.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes))
        os.environ.setdefault("MASTER_PORT", str(15_000 + int(os.environ["SLURM_JOB_ID"]) % 10_000))
    return launch


@contextmanager
def meeting() -> Iterator[None]:
    """Report a port that another program uses, where the processes were to meet."""
    try:
        yield
    except dist.DistError as error:
        if "EADDRINUSE" not in str(error):
            raise
        port = os.environ.get("MASTER_PORT")
        raise UserError(
            f"MASTER_PORT: {port}: in use by another program on {socket.gethostname()}; set MASTER_PORT to a free "
            "port, the same for all processes (launch/torchrun.sh finds one on a single node)"
        ) from None


def open_group(machine: Machine) -> torch.device:
    """Start the process group if there are several processes, and return this one's device.

    The group is not destroyed here: after an error the other ranks may be inside a collective.
    """
    from lightning_fabric import Fabric  # here: `ganlab evaluate` of images joins without it
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    for name in ("pytorch_lightning", "lightning_fabric"):  # hints about available hardware
        logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", module=name)
    torch.backends.cudnn.benchmark = True  # shapes are constant within a phase, so each is benchmarked once
    world_size, here = distributed.world_size(), distributed.processes_here()
    # Collectives time out later than the heartbeat, which can name the missing rank.
    timeout = timedelta(seconds=machine.timeout_seconds + GRACE_SECONDS)
    fabric = Fabric(
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[machine.device],
        devices=here,
        num_nodes=world_size // here,
        strategy=DDPStrategy(timeout=timeout) if world_size > 1 else "auto",
        # After `join`, torch's variables say all. Left to itself, Lightning would find SLURM, requeue the job inside
        # a signal handler, and hang.
        plugins=[TorchElasticEnvironment() if world_size > 1 else LightningEnvironment()],
    )
    with meeting():
        fabric.launch()
    assert fabric.world_size == world_size
    return fabric.device
