"""A module's part of a checkpoint, and putting a module on its device for training."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from ganlab import distributed
from ganlab.engine import sharding
from ganlab.engine.game import Game

LOSS_SCALES = "loss_scales."
"""Prefix of float16's loss scales in a state dict. They adapt within a few steps, so a run may resume in another
precision."""


def seat(module: Game, device: torch.device, saved: Mapping[str, Any] | None = None, *, shard: bool) -> None:
    """Put a module on its device, the same on all ranks, and seat its players; to be called on all ranks.

    Args:
        module: on the CPU, not sharded.
        device: device to train on.
        saved: a checkpoint to resume from. None of its memory is kept.
        shard: spread the weights over the ranks.
    """
    if saved is not None:
        saved = dict(saved)
        module.on_load_checkpoint(saved)
        module.load_state_dict(with_own_scales(saved["state_dict"], module))
    module.to(device)
    if distributed.world_size() > 1:
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.data, 0)
        if shard:
            mesh = init_device_mesh(device.type, (dist.get_world_size(),))
            for network in module.children():
                sharding.shard(network, mesh)
    optimizers = module.configure_optimizers()
    if saved is not None:
        for optimizer, state in zip(optimizers, saved["optimizer_states"], strict=True):
            load_optimizer(optimizer, state)


def load_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Load copies of a saved state, or of this rank's share of it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {}
    for at, values in saved["state"].items():
        copies = {name: value.clone() if isinstance(value, Tensor) else value for name, value in values.items()}
        share = parameters[at]
        state[at] = sharding.share_of(copies, share) if isinstance(share, DTensor) else copies
    optimizer.load_state_dict({**saved, "state": state})


def with_own_scales(weights: Mapping[str, Tensor], module: Game) -> dict[str, Tensor]:
    """Return saved weights, with the module's loss scales where the checkpoint has none and without extra ones."""
    own = {name: value for name, value in module.state_dict().items() if name.startswith(LOSS_SCALES)}
    there = {name: value for name, value in weights.items() if name in own or not name.startswith(LOSS_SCALES)}
    return {**own, **there}


def state_of(module: Game) -> dict[str, Any]:
    """Return a module's part of a checkpoint; to be called on all ranks. Only rank 0 gets the whole weights.

    The keys are Lightning's, so that a Trainer can load it too.
    """
    state: dict[str, Any] = {
        "pytorch-lightning_version": version("pytorch-lightning"),
        "state_dict": sharding.whole_values(module.state_dict()),
        "optimizer_states": [sharding.whole_values(player.optimizer.state_dict()) for player in module.seats.values()],
        "lr_schedulers": [],
    }
    module.on_save_checkpoint(state)
    return state
