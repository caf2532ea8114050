"""Optimizers: any of torch's, their scalars perhaps schedules, their steps masked where they are not finite."""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from ganlab.schedules import Schedule

MakeOptimizer = Callable[..., Optimizer]
"""Takes parameters: `functools.partial(Adam, lr=2e-4)`. A schedule may stand wherever a scalar may."""


def value_at(value: Any, nimg: int) -> Any:
    """Return a scalar, or a tuple of them, at a moment: schedules are asked, other things are what they are."""
    if isinstance(value, tuple | list):
        return tuple(value_at(item, nimg) for item in value)
    return value(nimg) if callable(value) else value


def scheduled(make: MakeOptimizer) -> dict[str, Any]:
    """Return those arguments of an optimizer that are schedules, or hold one."""

    def changes(value: Any) -> bool:
        return any(map(changes, value)) if isinstance(value, tuple | list) else isinstance(value, Schedule)

    arguments = make.keywords if isinstance(make, partial) else {}
    return {name: value for name, value in arguments.items() if changes(value)}


def make_optimizer(make: MakeOptimizer, parameters: Iterable[Tensor]) -> Optimizer:
    """Make an optimizer, in its fused form where that masks a step by itself; schedules stand at their first value."""
    arguments = {name: value_at(value, 0) for name, value in scheduled(make).items()}
    if "fused" in inspect.signature(make).parameters:
        fused = make([torch.zeros(1)], **arguments, fused=True)
        if masks_itself(fused):
            arguments["fused"] = True
    return make(parameters, **arguments)


def masks_itself(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer skips a step on the device, by `found_inf`. (Adagrad's fused form is for CPUs.)"""
    return isinstance(optimizer, Adam | SGD) and bool(optimizer.defaults["fused"])


def lazy(make: MakeOptimizer, every: int) -> MakeOptimizer:
    """Correct Adam for a penalty at every so-manieth step: rate and memory as if that step were two.

    With c = every / (every + 1): lr * c, beta1 ** c, beta2 ** c (Karras et al. 2020, appendix B).
    """
    assert isinstance(make, partial)
    c, lr, betas = every / (every + 1), make.keywords["lr"], make.keywords["betas"]
    return partial(make, lr=lr * c, betas=tuple(beta**c for beta in betas))


def begin_momenta(optimizer: Optimizer) -> None:
    """Let SGD begin with momenta of zero, to be called before its steps.

    Torch's fused form leaves them undefined where the first step is masked. Its first step is the same, but for a
    `dampening`, which torch applies from the second step on.
    """
    if isinstance(optimizer, SGD):
        for group in optimizer.param_groups:
            for parameter in group["params"] if group["momentum"] else ():
                if parameter not in optimizer.state:
                    optimizer.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}


class FirstValues(dict[str, Any]):
    """What an optimizer remembers of a parameter, and each tensor of it as it was when it was first put there."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, Tensor] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor):
            self.first.setdefault(name, value.detach().clone())
        super().__setitem__(name, value)


def masked_step(optimizer: Optimizer, masked: Tensor, step: Callable[[], Any]) -> None:
    """Step with an optimizer that has no mask of its own: where `masked` is 1, everything is put back, on the device.

    What the step makes of states that are not there yet is put back to their first values. Counters that are kept on
    the CPU beside a GPU's weights, or as numbers, go on counting. `step` is the optimizer's own, or a wrapper.
    """
    moved = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    for parameter in moved:  # so that nothing on its way is infinite
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
