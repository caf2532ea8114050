"""An orderly end: when the images are done, or when a signal asks for it."""

import os
import signal
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch

from ganlab import distributed
from ganlab.models import GANModule

POLL_EVERY = 10
"""Moves between two looks at the other ranks' signals: each look is a reduction."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Guard(pl.Callback):
    """Stops training at a move boundary; the checkpoint callback then saves.

    A signal handler only sets a flag, and the ranks agree on it at a boundary: Lightning's own handlers save or
    communicate inside the handler, and hang. A second signal ends the process at once.
    """

    def __init__(self, total_nimg: int) -> None:
        self.total_nimg = total_nimg
        self.signal = 0
        """Number of the signal that stopped the run; 0 when none did."""
        self.moves = 0
        self.judged: tuple[int, bool] | None = None
        """The images at which it was last asked, and what it said: each look at the other ranks is one for all."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the signals over from Lightning, which has installed its handlers by now.

        Its teardown, after the last checkpoint is saved or an error has ended the run, puts back what was before both.
        """
        for number in SIGNALS:
            signal.signal(number, self._note)
        # Lightning broadcasts a SIGTERM flag in every step: a sync that `_agreed` makes needless.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Stop if it is time to."""
        assert isinstance(module, GANModule)
        if self.due(module):
            trainer.should_stop = True

    def due(self, module: GANModule) -> bool:
        """Tell whether it is time to stop; to be asked by all ranks, after every move."""
        nimg = module.clock.nimg
        if self.judged is None or self.judged[0] != nimg:
            self.judged = nimg, nimg >= self.total_nimg or self._agreed(module.device)
        return self.judged[1]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            os._exit(128 + number)
        self.signal = number

    def _agreed(self, device: torch.device) -> bool:
        if distributed.world_size() > 1:
            self.moves += 1
            if self.moves % POLL_EVERY:
                return False
            flag = torch.tensor(self.signal, device=device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            self.signal = int(flag.item())
        return self.signal > 0
