"""Adam for CUDA graphs: its learning rate and betas lie on the device, where each replay reads them anew."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam


class StillAdam(Adam):
    """Adam that reads nothing on the host: each group's `lr` and `betas` are set to tensors [] on the device.

    Torch's own has betas as numbers, of which a CUDA graph keeps the first ones. With constant ones the steps are those
    of torch's plain form, whose state it shares.

    Args:
        params: parameters, or groups of them.
        lr, betas, eps: Kingma & Ba 2015; the first two are initial values.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(params, lr, betas, eps)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make a step."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, parameter.grad, group["lr"], beta1, beta2, group["eps"])

    def move(self, parameter: Tensor, gradient: Tensor, lr: Tensor, beta1: Tensor, beta2: Tensor, eps: float) -> None:
        """Move one parameter (algorithm 1)."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        step, mean, square = state["step"], state["exp_avg"], state["exp_avg_sq"]
        step += 1
        mean.lerp_(gradient, (1 - beta1).to(mean.dtype))
        square.mul_(beta2).addcmul_(gradient * (1 - beta2), gradient)
        root = (square.sqrt() / (1 - beta2**step).sqrt()).add_(eps)
        parameter.addcdiv_(mean * (-lr / (1 - beta1**step)), root)
