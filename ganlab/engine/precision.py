"""Mixed precision: autocast around networks, and loss scaling for float16."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ganlab.types import Precision

LOW: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: Precision, full: bool = False) -> torch.autocast:
    """Return the autocast context of the run's precision, or of full precision."""
    low = LOW.get(precision)
    return torch.autocast(device.type, low, enabled=low is not None and not full)


def widened(outputs: Any, dtype: torch.dtype) -> Any:
    """Cast the floating-point outputs of a network, one tensor or several, to `dtype`."""

    def widen(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    return widen(outputs) if isinstance(outputs, Tensor) else tree_map(widen, outputs)


class LossScale(nn.Module):
    """A factor on a player's loss that keeps float16 gradients from underflowing.

    It is halved after a step that was not finite and doubled after `PATIENCE` finite ones (Micikevicius et al. 2018,
    section 3.2). Torch's GradScaler does the same, but takes over the optimizer's step.
    """

    PATIENCE = 2000
    value: Tensor
    finite: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(2.0**16))
        self.register_buffer("finite", torch.tensor(0.0))

    def update(self, not_finite: Tensor) -> None:
        """Update the scale after a step, on the device."""
        self.finite.add_(1).mul_(1 - not_finite)
        grown = (self.finite >= self.PATIENCE).float()
        self.finite.mul_(1 - grown)
        self.value.mul_(1 + grown).mul_(1 - not_finite / 2)
