"""Optimizers for games: each changes the steps of another one, any of torch's."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ganlab.types import UserError


class Around(Optimizer):
    """An optimizer around another one, with which it shares parameter groups and state.

    Args:
        params: parameters, or groups of them.
        optimizer: makes the inner optimizer from parameter groups: `functools.partial(Adam, lr=1e-4)`.
    """

    def __init__(self, params: Iterable[Any], optimizer: Callable[..., Optimizer]) -> None:
        super().__init__(params, {})
        self.inner = optimizer(self.param_groups)
        self.state = self.inner.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a loaded state, and give it to the inner optimizer too."""
        super().__setstate__(state)
        self.inner.__setstate__({"state": self.state, "param_groups": self.param_groups})

    def moves(self) -> list[tuple[Tensor, Tensor, dict[str, Any]]]:
        """Make the inner step; return each parameter that it moves, with its value before and its state."""
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [p.clone() for p in moved]
        self.inner.step()
        return [(p, start, self.state[p]) for p, start in zip(moved, before, strict=True)]


class Optimistic(Around):
    """Take each move twice, and the last one back: w_{t+1} = w_t - 2 u_t + u_{t-1} (Daskalakis et al. 2018, eq. 4).

    u_t is what the inner optimizer would subtract; the first step has no move before. Around SGD it is optimistic
    gradient descent, around Adam their optimistic Adam, with each move's own correction of the moments' bias.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make a step."""
        for parameter, start, state in self.moves():
            if "move" not in state:
                state["move"] = torch.zeros_like(parameter)
            move = parameter - start
            parameter.add_(move).sub_(state["move"])
            state["move"].copy_(move)


class Lookahead(Around):
    """After every `steps` steps, draw slow weights towards the fast ones, and set these back to them.

    Zhang et al. 2019; Chavdarova et al. 2021 for games, with all players alike.

    Args:
        params, optimizer: see `Around`.
        steps: steps of the inner optimizer between two of the slow weights, their k.
        pull: how far the slow weights move towards the fast ones, their alpha.
    """

    def __init__(
        self, params: Iterable[Any], optimizer: Callable[..., Optimizer], steps: int = 5, pull: float = 0.5
    ) -> None:
        super().__init__(params, optimizer)
        if steps < 1 or not 0 < pull <= 1:
            raise UserError(f"steps: {steps}, pull: {pull}; write at least 1 step, and a pull above 0 and up to 1")
        self.steps, self.pull = steps, pull

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make a step."""
        for parameter, start, state in self.moves():
            if "slow" not in state:
                state["slow"], state["since"] = start, parameter.new_zeros(())
            state["since"].add_(1)
            due = state["since"] == self.steps  # on the device: no sync
            state["slow"].lerp_(parameter, self.pull * due.to(parameter.dtype))
            parameter.copy_(torch.where(due, state["slow"], parameter))
            state["since"].mul_(~due)


class Normalized(Around):
    """Divide a player's gradient by a running mean of its norm: the scale of its loss no longer matters.

    Lin et al. 2026 do so for what a generator gets from the discriminator, with a decay of 0.9. Around Adam, which
    forgets a constant scale anyway, it damps only steps whose gradient is much smaller than usual.

    Args:
        params: parameters, or groups of them.
        optimizer: makes the inner optimizer.
        decay: of the running mean, per step.
    """

    def __init__(self, params: Iterable[Any], optimizer: Callable[..., Optimizer], decay: float = 0.9) -> None:
        super().__init__(params, optimizer)
        if not 0 <= decay < 1:
            raise UserError(f"decay: {decay}: must be at least 0 and less than 1")
        self.decay = decay

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make a step; the mean, of the norms so far, includes this one."""
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in moved]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        held = self.state[moved[0]]
        mean, share = (held[name] if name in held else torch.zeros_like(norm) for name in ("norm", "share"))
        mean, share = mean.lerp(norm, 1 - self.decay), share.lerp(torch.ones_like(norm), 1 - self.decay)
        torch._foreach_mul_(gradients, share / mean.clamp(min=torch.finfo(norm.dtype).tiny))
        self.inner.step()
        for name, value in (("norm", mean), ("share", share)):  # not before: Adam's first step wants no state
            if name not in held:
                self.state[moved[0]][name] = torch.zeros_like(norm)
            self.state[moved[0]][name].copy_(value)
