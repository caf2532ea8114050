"""A player: a network with its optimizer, its gradients, and under float16 its loss scale."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlab.engine import sharding


class LossScale(nn.Module):
    """Keeps float16 gradients from vanishing: a factor on the loss, one for each player.

    Halved after a move that was not finite, doubled after `PATIENCE` that were (Micikevicius et al. 2018, section 3.2).
    Torch's GradScaler does the same, but would own the step; here the mask and the scale are tensors beside it.
    """

    PATIENCE = 2000
    value: Tensor
    finite: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(2.0**16))
        self.register_buffer("finite", torch.tensor(0.0))

    def update(self, not_finite: Tensor) -> None:
        """Take note of a move that has been made, on the device."""
        self.finite.add_(1).mul_(1 - not_finite)
        grown = (self.finite >= self.PATIENCE).float()
        self.finite.mul_(1 - grown)
        self.value.mul_(1 + grown).mul_(1 - not_finite / 2)


class Player:
    """One side of the game, seated once its parameters are on their device.

    Args:
        network: whose weights it moves.
        make_optimizer: takes parameters and `fused`.
        scale: of the loss, under float16.
    """

    def __init__(self, network: nn.Module, make_optimizer: Callable[..., Optimizer], scale: LossScale | None) -> None:
        network.requires_grad_()  # an earlier fit's last move may have left the discriminator without
        self.network, self.scale = network, scale
        self.optimizer = make_optimizer(network.parameters(), fused=True)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.rates: list[Tensor] = []
        self.gradients = sharding.gradients_of(network)
        self.culprits = torch.zeros_like(self.gradients.not_finite(), dtype=torch.float32)
        self.step: Callable[[], Any] = self.optimizer.step
        """Under a Trainer, the discriminator's goes through Lightning's wrapper, which counts it."""

    def hold_still(self) -> None:
        """Let the step be recorded: what it reads then lies where it lay, on the device."""
        self.rates = [torch.tensor(rate, device=self.culprits.device) for rate in self.base_rates]

    def begin(self, rate_factor: float) -> None:
        """Begin a move."""
        for number, (group, rate) in enumerate(zip(self.optimizer.param_groups, self.base_rates, strict=True)):
            group["lr"] = self.rates[number].fill_(rate * rate_factor) if self.rates else rate * rate_factor
            if "capturable" in group:
                group["capturable"] = bool(self.rates)  # whatever the run said that wrote the checkpoint

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add a loss's gradients; the last one of a move sends them to the other ranks while it runs."""
        if last:
            self.gradients.arm()
        (loss if self.scale is None else loss * self.scale.value).backward()

    def reduce(self) -> None:
        """Wait for the averages over the ranks."""
        self.gradients.finish()

    def finish(self) -> Tensor:
        """Step; return 1.0, on the device, if the move was masked.

        A move with a gradient that is not finite changes nothing: the fused optimizers skip it on the device.
        """
        culprits = self.gradients.not_finite()
        not_finite = culprits.any().float()
        self.optimizer.found_inf = not_finite  # type: ignore[attr-defined]
        if self.scale is not None:
            self.optimizer.grad_scale = self.scale.value  # type: ignore[attr-defined]
        self.culprits += culprits
        self.step()
        if self.scale is not None:
            self.scale.update(not_finite)
        return not_finite

    def read_culprits(self) -> dict[str, int]:
        """Return the parameters whose gradients were not finite, and how often, since the last call. A host sync."""
        counts = self.culprits.tolist()
        self.culprits.zero_()
        names = (name for name, _ in self.network.named_parameters())
        return {name: int(count) for name, count in zip(names, counts, strict=True) if count}
