"""Networks whose weights are sharded over the ranks between steps: less memory per rank, the same results.

A rank keeps its share of every parameter, of the average and of the optimizer's state. For a step all networks are
gathered as plain tensors, so that a penalty's second backward or a compiled loss sees ordinary weights, and no call
path can bypass the reduction. A step therefore still needs memory for all networks and for the gradients of those
that it moves.

Torch's `fully_shard` hooks a network's inputs and outputs, which a `torch.func.grad` around it hides: torch 2.11
fails, and 2.15 silently skips the reduction if no logit is computed outside of it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.nn import Parameter

from ganlab import distributed
from ganlab.engine.gradients import Gradients


class Whole(Parameter):
    """A parameter that has been gathered from the ranks' shares."""

    share: DTensor
    gathered: int
    """Number of gathers minus number of releases, so that gathers can be nested."""


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Keep this rank's slice of each parameter along its first dimension; scalars stay whole on every rank.

    Shares are contiguous, whole weights channels-last: a fused optimizer needs the same layout in weights and states.
    """

    def cut(parameter: Parameter) -> Parameter:
        placement = Shard(0) if parameter.ndim else Replicate()
        return Parameter(distribute_tensor(parameter.data.contiguous(), mesh, [placement]), parameter.requires_grad)

    replace_parameters(network, cut)


def gather(*networks: nn.Module) -> None:
    """Gather the parameters of sharded networks; to be called on all ranks."""

    def gathered(share: Parameter) -> Parameter:
        if isinstance(share, Whole):
            share.gathered += 1
            return share
        assert isinstance(share, DTensor)
        whole = Whole(channels_last(share.full_tensor().detach()), share.requires_grad)
        whole.share, whole.gathered = share, 1
        return whole

    for network in filter(is_sharded, networks):
        replace_parameters(network, gathered)


def release(*networks: nn.Module) -> None:
    """Undo a `gather`: after the outermost one the shares are the network's parameters again."""

    def released(whole: Parameter) -> Parameter | DTensor:
        assert isinstance(whole, Whole)
        whole.gathered -= 1
        return whole if whole.gathered else whole.share

    for network in filter(is_sharded, networks):
        replace_parameters(network, released)


def replace_parameters(network: nn.Module, change: Callable[[Parameter], Any]) -> None:
    """Replace every parameter; one that is shared by two modules stays shared."""
    made: dict[Parameter, Parameter] = {}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in made:
                made[parameter] = change(parameter)
            setattr(module, name, made[parameter])


def channels_last(tensor: Tensor) -> Tensor:
    """Return images and weights of convolutions (4 dimensions) channels-last, other tensors unchanged."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def is_sharded(network: nn.Module) -> bool:
    """Tell whether a network is sharded, gathered or not."""
    return isinstance(next(network.parameters(), None), DTensor | Whole)


def local(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return this rank's part of each tensor: the whole tensor, unless it is sharded."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


class ShardedGradients:
    """`Gradients` of a sharded player: each rank ends with its share of the averages."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.shares = network, list(network.parameters())
        copies = [dist.get_world_size() if share.ndim == 0 else 1 for share in self.shares]  # scalars stay whole
        self.copies = torch.tensor(copies, dtype=torch.float64, device=self.shares[0].device)

    def clear(self) -> None:
        """Clear the last step's gradients."""
        for share in self.shares:
            share.grad = None

    def arm(self) -> None:
        """Do nothing: gradients are reduced only after the whole backward pass."""

    def finish(self) -> None:
        """Average over the ranks, parameter by parameter, and free the whole gradients."""
        for whole in self.network.parameters():
            if isinstance(whole, Whole) and whole.grad is not None:
                mesh, placements = whole.share.device_mesh, whole.share.placements
                total = DTensor.from_local(whole.grad.contiguous(), mesh, [Partial()]).redistribute(
                    placements=placements
                )
                whole.share.grad = total / mesh.size()
                whole.grad = None

    def norms(self) -> Tensor:
        """Return the norm of each parameter's whole gradient; not finite if any rank's share is not. No host sync."""
        gradients = local(share.new_zeros(()) if share.grad is None else share.grad for share in self.shares)
        squares = torch.stack(torch._foreach_norm(gradients)).double().square() / self.copies
        dist.all_reduce(squares)
        return squares.sqrt()


def gradients_of(network: nn.Module) -> Gradients | ShardedGradients:
    """Return the object that averages a player's gradients over the ranks."""
    return ShardedGradients(network) if is_sharded(network) else Gradients(network.parameters())


def whole_values(values: dict[str, Any]) -> dict[str, Any]:
    """Gather the shares in nested dicts and lists, one tensor at a time, onto rank 0's CPU; others get nothing."""

    def gathered(share: DTensor) -> Tensor:
        whole = share.full_tensor()
        return whole.cpu() if distributed.rank() == 0 else whole.new_empty(0)

    collected: dict[str, Any] = apply_to_collection(values, DTensor, gathered)
    return collected


def share_of(state: Mapping[str, Any], share: DTensor) -> dict[str, Any]:
    """Shard an optimizer's state of a parameter like the parameter itself."""
    return {
        name: distribute_tensor(
            value.to(share.device).contiguous(), share.device_mesh, share.placements, src_data_rank=None
        )
        if name != "step" and value.shape == share.shape
        else value
        for name, value in state.items()
    }
