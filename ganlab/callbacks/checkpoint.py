"""Checkpoints that are whole or not there, named by the images seen."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from ganlab.callbacks.every import EveryImages
from ganlab.checkpoints import FORMAT as CHECKPOINT_FORMAT
from ganlab.files import atomic_write
from ganlab.models import GANModule
from ganlab.types import UserError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's format, written beside its place and renamed.

    Lightning's own way is not atomic where `$TMPDIR` is another file system, and holds the file in memory twice.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write one file; on any error the old one stays."""
        with atomic_write(Path(path)) as file:
            torch.save(checkpoint, file)


class Checkpoints(EveryImages):
    """Saves all that a resume needs, and the config beside it; keeps the newest few."""

    def __init__(self, folder: Path, *, every: int, keep: int, config: dict[str, Any]) -> None:
        super().__init__(every)
        self.folder, self.keep, self.config = folder, keep, config

    def fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        """Save, then delete what is too old."""
        trainer.save_checkpoint(self.folder / f"nimg-{module.clock.nimg:012d}.ckpt")
        if trainer.is_global_zero:
            for old in found(self.folder)[: -self.keep]:
                old.unlink()

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the config into the file: a checkpoint says by itself what it is of."""
        checkpoint["config"] = self.config


def found(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first."""
    return sorted(folder.glob("nimg-*.ckpt"))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, its tensors mapped, not copied; anything but plain values and tensors is refused.

    Raises `UserError` for a file that is damaged, or not one of ours.
    """
    try:
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged pickle may raise anything: KeyError, IndexError, ...
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: cannot be read: {cause}; delete it to go on from the one before") from None
    ours = checkpoint.get("ganlab") if isinstance(checkpoint, dict) and "config" in checkpoint else None
    if not isinstance(ours, dict) or ours.get("format") != CHECKPOINT_FORMAT:
        raise UserError(f"{path}: not a checkpoint of `ganlab train`, format {CHECKPOINT_FORMAT}")
    return dict(checkpoint)
