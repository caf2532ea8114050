"""What a run tells every game, whatever the paper."""

from dataclasses import dataclass

import torch

from ganlab.types import Precision


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Settings of the run; none of them is a paper's."""

    seed: int = 0
    """Of everything that is drawn for a step."""
    attempt: int = 0
    """Enters every key of the noise, so that a run rolled back meets other noise."""
    micro_batch: int | None = None
    """Samples per process and forward pass, a multiple of `group`; None puts all of them through at once. It changes
    memory, not results, except where samples of a batch are coupled: batch norm normalises over the micro-batch."""
    precision: Precision = "fp32"
    """`bf16` and `fp16` run the networks under autocast; losses, penalties and logits stay in float32 at least, and a
    penalty's own pass too."""
    group: int = 4
    """Consecutive samples that stay on one rank and share a key of the noise; must divide every rank's batch."""
    total_nimg: int | None = None
    """Images of the whole run, with which a schedule without an end of its own ends; None where nobody knows."""

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of parameters, losses and noise."""
        return torch.float64 if self.precision == "fp64" else torch.float32
