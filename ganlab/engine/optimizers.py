"""Optimizers: any of torch's, with scheduled scalars, and masked steps where gradients are not finite."""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from ganlab.engine.adam import StillAdam
from ganlab.schedules import Schedule

MakeOptimizer = Callable[..., Optimizer]
"""Takes parameters: `functools.partial(Adam, lr=2e-4)`. Any scalar may be a schedule."""


def value_at(value: Any, nimg: int) -> Any:
    """Return a scalar, or a tuple of them, at `nimg`: schedules are evaluated, other values returned unchanged."""
    if isinstance(value, tuple | list):
        return tuple(value_at(item, nimg) for item in value)
    return value(nimg) if callable(value) else value


def scheduled(make: MakeOptimizer) -> dict[str, Any]:
    """Return the arguments of an optimizer that are schedules or contain one."""

    def changes(value: Any) -> bool:
        return any(map(changes, value)) if isinstance(value, tuple | list) else isinstance(value, Schedule)

    arguments = make.keywords if isinstance(make, partial) else {}
    inner = scheduled(arguments["optimizer"]) if "optimizer" in arguments else {}  # of `ganlab.optim`'s
    return inner | {name: value for name, value in arguments.items() if name != "optimizer" and changes(value)}


def make_optimizer(make: MakeOptimizer, parameters: Iterable[Tensor]) -> Optimizer:
    """Make an optimizer, fused if the fused form can mask a step; schedules have their first value."""
    return ready(make)(parameters)


def still_form(make: MakeOptimizer) -> MakeOptimizer:
    """Return what makes an optimizer for CUDA graphs: Adam with scheduled betas has a form of its own."""
    if not isinstance(make, partial) or make.func is not Adam or make.keywords.keys() - {"lr", "betas", "eps"}:
        return make
    return partial(StillAdam, **make.keywords) if "betas" in scheduled(make) else make


def still_scalars(device: torch.device) -> dict[str, Any]:
    """Return what holds a group's scalars for CUDA graphs. (Torch's fused Adam wants its rate in float32.)"""
    beta1, beta2 = torch.zeros(2, dtype=torch.float64, device=device).unbind()
    return {"lr": torch.zeros((), device=device), "betas": (beta1, beta2)}


def filled(held: Any, value: Any) -> Any:
    """Write a scalar, or a tuple of them, to the tensors that hold it, and return these."""
    return tuple(map(filled, held, value)) if isinstance(held, tuple) else held.fill_(value)


def ready(make: MakeOptimizer) -> MakeOptimizer:
    """Return what makes the optimizer, and one inside of it, as `make_optimizer` does."""
    if isinstance(make, partial):
        first = {name: value_at(value, 0) for name, value in scheduled(make).items() if name in make.keywords}
        inner = {"optimizer": ready(make.keywords["optimizer"])} if "optimizer" in make.keywords else {}
        make = partial(make, **first, **inner)
    if "fused" in inspect.signature(make).parameters and masks_itself(make([torch.zeros(1)], fused=True)):
        make = partial(make, fused=True)
    return make


def masks_itself(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer skips a step on the device, by `found_inf`. (Adagrad's fused form is for CPUs.)"""
    return isinstance(optimizer, Adam | SGD) and bool(optimizer.defaults["fused"])


def lazy(make: MakeOptimizer, every: int) -> MakeOptimizer:
    """Correct Adam's learning rate and betas for a penalty at every `every`-th step, counted as an extra step.

    With c = every / (every + 1): lr * c, beta1 ** c, beta2 ** c (Karras et al. 2020, appendix B).
    """
    assert isinstance(make, partial)
    c, lr, betas = every / (every + 1), make.keywords["lr"], make.keywords["betas"]
    return partial(make, lr=lr * c, betas=tuple(beta**c for beta in betas))


def begin_momenta(optimizer: Optimizer) -> None:
    """Initialise SGD's momenta to zero; call before each step.

    Torch's fused form leaves them undefined if the first step is masked. The first step stays the same, except with
    `dampening`, which torch applies only from the second step on.
    """
    if isinstance(optimizer, SGD):
        for group in optimizer.param_groups:
            for parameter in group["params"] if group["momentum"] else ():
                if parameter not in optimizer.state:
                    optimizer.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}


class FirstValues(dict[str, Any]):
    """An optimizer's state of one parameter, with a copy of each tensor as it was first set."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, Tensor] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor):
            self.first.setdefault(name, value.detach().clone())
        super().__setitem__(name, value)


def masked_step(optimizer: Optimizer, masked: Tensor, step: Callable[[], Any]) -> None:
    """Step an optimizer that cannot mask a step itself: where `masked` is 1, everything is restored, on the device.

    States that this step creates are restored to their first values. Counters that are kept on the CPU beside weights
    on a GPU, or as numbers, still advance. `step` is the optimizer's own, or a wrapper.
    """
    moved = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    for parameter in moved:  # keeps every intermediate value finite
        parameter.grad = torch.where(masked.bool(), 0.0, parameter.grad)
    new = {p: FirstValues() for p in moved if p not in optimizer.state}
    states = [value for p in moved if p not in new for value in optimizer.state[p].values()]
    held = [(tensor, tensor.detach().clone()) for tensor in (*moved, *states) if isinstance(tensor, Tensor)]
    optimizer.state.update(new)
    step()
    for parameter, state in new.items():
        held += [(state[name], first) for name, first in state.first.items()]
        optimizer.state[parameter] = dict(state)
    with torch.no_grad():
        for tensor, before in held:
            if tensor.device == masked.device:
                tensor.copy_(torch.where(masked.bool(), before, tensor))
