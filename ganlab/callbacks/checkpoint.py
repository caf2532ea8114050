"""Checkpoints of all that a resume needs, every so many images, written behind the game's back."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.ticks import Ticks
from ganlab.experiment.checkpoints import Writer, path_at
from ganlab.models import GANModule


class WriterIO(TorchCheckpointIO):
    """Lightning's format through our writer.

    Lightning's own way is not atomic where `$TMPDIR` is another file system, and holds the file in memory twice.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Begin to write; called on rank 0."""
        self.writer.submit(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read onto the CPU, tensors and plain values only."""
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]


class Checkpoints(EveryImages):
    """Saves the run; in the file are also what it is `about` (config, dataset) and the metrics of the last tick."""

    def __init__(self, folder: Path, *, every: int, writer: Writer, ticks: Ticks, about: dict[str, Any]) -> None:
        super().__init__(every)
        self.folder, self.writer, self.ticks, self.about = folder, writer, ticks, about

    def fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        """Save; but first let the ticks judge a move that was not finite, so that a checkpoint is one to go back to."""
        if any(player.culprits.any() for player in module.seats.values()):
            self.ticks.fire(trainer, module)
        trainer.save_checkpoint(path_at(self.folder, module.clock.nimg))

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put in what a checkpoint should say of itself."""
        checkpoint.update(self.about, metrics=self.ticks.row)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save the last images, and wait until they are on disk."""
        super().on_train_end(trainer, module)
        self.writer.wait()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, error: BaseException) -> None:
        """Let a checkpoint that is being written come to its end."""
        self.writer.wait()
