"""Networks whose weights are spread over the processes, by torch's `fully_shard`: for players larger than memory allows.

Each process holds its share of the weights, of their gradients, of the average and of the optimizers' states. While a
network runs it is whole on every process: it is cut as one piece and not layer by layer, because the second backward
of a penalty would find the layers' weights gone.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from ganlab import distributed


def is_sharded(network: nn.Module) -> bool:
    """Tell whether the network's weights are spread over the processes: it then runs on all of them, or on none."""
    return isinstance(network, FSDPModule)


def gather(network: nn.Module) -> None:
    """Make a sharded network's weights whole, for those who read them outside its forward."""
    if isinstance(network, FSDPModule):
        network.unshard()


def release(*networks: nn.Module) -> None:
    """Let go of whole weights, which torch keeps after a forward pass until a backward one has used them."""
    for network in networks:
        if isinstance(network, FSDPModule):
            network.reshard()


def shares(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return what this process holds of each tensor: all of it, unless it is sharded."""
    return [value.to_local() if isinstance(value, DTensor) else value for value in parameters]


def unsharded(state: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Return the tensors that every process holds in full, by name."""
    return [(name, value) for name, value in state.items() if not isinstance(value, DTensor)]


class ShardedGradients:
    """As `Gradients`, for a sharded player: torch's own hooks average them, and leave each process its share."""

    def __init__(self, network: FSDPModule) -> None:
        assert isinstance(network, nn.Module)
        self.network, self.parameters = network, list(network.parameters())

    def clear(self) -> None:
        """Forget the last move's gradients."""
        for parameter in self.parameters:
            parameter.grad = None
        self.network.set_requires_gradient_sync(False)

    def arm(self) -> None:
        """Let the coming backward, the last one of the move, average what it and those before it have added."""
        self.network.set_requires_gradient_sync(True)

    def finish(self) -> None:
        """Do nothing: the averages are there when backward returns."""

    def not_finite(self) -> Tensor:
        """Return for each parameter whether its gradient holds an infinity or a NaN anywhere, without a host sync."""
        gradients = [p.new_zeros(()) if p.grad is None else p.grad for p in self.parameters]
        flags = (~torch.stack(torch._foreach_norm(shares(gradients))).isfinite()).float()
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return flags.bool()


def gradients_of(network: nn.Module) -> distributed.Gradients | ShardedGradients:
    """Return who averages a player's gradients over the ranks."""
    if isinstance(network, FSDPModule):
        return ShardedGradients(network)
    return distributed.Gradients(network.parameters())


class ShardedStrategy(distributed.NoWrapStrategy):
    """Shards the networks before the players are seated; its checkpoints are those of whole networks."""

    def configure_ddp(self) -> None:
        """Begin from rank 0's weights, then keep this process's share of each network."""
        super().configure_ddp()
        assert self.lightning_module is not None
        mesh = init_device_mesh(self.root_device.type, (dist.get_world_size(),))
        for network in self.lightning_module.children():
            if any(True for _ in network.parameters()):
                fully_shard(network, mesh=mesh)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return whole weights; on rank 0, which writes them."""
        return whole(super().lightning_module_state_dict())

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return whole states; on rank 0, which writes them."""
        return whole(super().optimizer_state(optimizer))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's share of whole states. (The weights are loaded before they are sharded.)"""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state = {at: share_of(values, parameters[at]) for at, values in saved["state"].items()}
            optimizer.load_state_dict({**saved, "state": state})


def whole(values: dict[str, Any]) -> dict[str, Any]:
    """Gather the sharded tensors in nested dicts and lists, one at a time, onto rank 0's CPU; the others get none."""

    def gathered(tensor: DTensor) -> Tensor:
        full = tensor.full_tensor()
        return full.cpu() if distributed.rank() == 0 else full.new_empty(0)

    collected: dict[str, Any] = apply_to_collection(values, DTensor, gathered)
    return collected


def share_of(state: Mapping[str, Any], parameter: DTensor) -> dict[str, Any]:
    """Cut what an optimizer remembers of a parameter as the parameter itself is cut."""
    mesh, placements = parameter.device_mesh, parameter.placements
    return {
        name: distribute_tensor(value, mesh, placements, src_data_rank=None) if value.shape == parameter.shape else value
        for name, value in state.items()
    }
