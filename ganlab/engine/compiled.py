"""Players' losses, each compiled by torch as one graph."""

import logging
import re
from collections.abc import Callable
from typing import Any

import torch
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

log = logging.getLogger(__name__)


class Compiled:
    """A player's loss, penalties included, as one graph per shape and set of due penalties.

    A loss that cannot be one graph, or recompiles without end, is reported once and runs uncompiled from then on.

    Args:
        player: the player's name.
        loss: the loss.
        options: passed on to `torch.compile`.
    """

    def __init__(self, player: str, loss: Callable[..., Any], **options: Any) -> None:
        self.player, self.loss = player, loss

        def whole(*arguments: Any) -> Any:
            return loss(*arguments)

        # Torch finds graphs by their code, and torch 2.11 may take another player's: each player gets code of its own.
        whole.__code__ = whole.__code__.replace(co_name=f"{player}_loss")
        self.compiled = torch.compile(whole, fullgraph=True, dynamic=False, **options)

    def __call__(self, *arguments: Any) -> Any:
        """Return the loss."""
        try:
            return self.compiled(*arguments)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            log.warning("machine.compile: the %s's loss stays uncompiled: %s", self.player, reason(error))
            self.compiled = self.loss
            return self.loss(*arguments)


def reason(error: Exception) -> str:
    """Summarise torch's error in one line: its first line, and the last place in the code that it names."""
    if isinstance(error, FailOnRecompileLimitHit):
        return "it would be recompiled again and again; TORCH_LOGS=recompiles tells what keeps changing"
    places = re.findall(r'File "(.+)", line (\d+), in (\w+)', str(error))
    first = str(error).strip().splitlines()[0]
    return f"{first} ({places[-1][0]}:{places[-1][1]}, in {places[-1][2]})" if places else first
