"""Whole losses, compiled by torch."""

import logging
import re
from collections.abc import Callable
from typing import Any

import torch
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

log = logging.getLogger(__name__)


class Compiled:
    """A player's loss as one graph, penalties and all; torch compiles it once for each shape and set of due penalties.

    What cannot be one graph, or keeps asking to be compiled anew, is reported once and left as it is from then on.

    Args:
        player: whose loss it is.
        loss: the loss.
        options: of `torch.compile`.
    """

    def __init__(self, player: str, loss: Callable[..., Any], **options: Any) -> None:
        self.player, self.loss = player, loss
        self.run = torch.compile(loss, fullgraph=True, dynamic=False, **options)

    def __call__(self, *arguments: Any) -> Any:
        """Return the loss."""
        try:
            return self.run(*arguments)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            log.warning("machine.compile: the %s's loss stays uncompiled: %s", self.player, reason(error))
            self.run = self.loss
            return self.loss(*arguments)


def reason(error: Exception) -> str:
    """Say in a line what torch says in many: what, and the last place in the code that it names."""
    if isinstance(error, FailOnRecompileLimitHit):
        return "it would be compiled anew again and again; TORCH_LOGS=recompiles tells what keeps changing"
    places = re.findall(r'File "(.+)", line (\d+), in (\w+)', str(error))
    first = str(error).strip().splitlines()[0]
    return f"{first} ({places[-1][0]}:{places[-1][1]}, in {places[-1][2]})" if places else first
