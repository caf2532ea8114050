"""The rhythm that callbacks share: every so many images."""

from abc import ABC, abstractmethod
from typing import Any

import pytorch_lightning as pl

from ganlab.engine.clock import crossed
from ganlab.models import GANModule


class EveryImages(pl.Callback, ABC):
    """Fires at the first move boundary at or past each multiple of `every` images, and once more at the end."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.seen = self.fired = 0

    @abstractmethod
    def fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        """Do what is due, on every rank."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin to count where the clock stands."""
        assert isinstance(module, GANModule)
        self.seen = self.fired = module.clock.nimg

    def due(self, module: GANModule) -> bool:
        """Tell whether a multiple has been passed since the last step."""
        return crossed(self.every, self.seen, module.clock.nimg)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Fire if it is time to."""
        assert isinstance(module, GANModule)
        due, self.seen = self.due(module), module.clock.nimg
        if due:
            self._fire(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Fire for the last images, unless that has just been done."""
        assert isinstance(module, GANModule)
        if module.clock.nimg > self.fired:
            self._fire(trainer, module)

    def _fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        self.fired = module.clock.nimg
        with module.stopwatch("logging"):
            module.settle()
            self.fire(trainer, module)
