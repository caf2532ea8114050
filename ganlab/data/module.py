"""The dataset as Lightning wants it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ganlab.data.loader import BatchLoader
from ganlab.data.shards import Index
from ganlab.types import ImageSpec, Phase


class ShardData(pl.LightningDataModule):
    """Batches of a packed dataset, beginning where the module's clock stands.

    Args:
        url: folder of shards with their index.
        batch: images in a batch, over all ranks; None leaves it to the module's `plan`.
        seed: of the order.
        threads: that decode, per process.
    """

    def __init__(self, url: str | Path, *, batch: int | None = 64, seed: int = 0, threads: int = 2) -> None:
        super().__init__()
        self.index = Index.open(url)
        self.batch, self.seed, self.threads = batch, seed, threads

    @property
    def image(self) -> ImageSpec:
        """What the images are."""
        return self.index.image

    def train_dataloader(self) -> BatchLoader:
        """Return a loader that begins at the images already seen: Lightning asks after it has loaded a checkpoint."""
        assert self.trainer is not None
        module: Any = self.trainer.lightning_module
        clock, plan = getattr(module, "clock", None), getattr(module, "plan", lambda _: Phase(0, self.image))

        def with_batch(nimg: int) -> Phase:
            phase: Phase = plan(nimg)
            return phase if self.batch is None else replace(phase, batch=self.batch)

        return BatchLoader(
            self.index,
            plan=with_batch,
            seed=self.seed,
            start=clock.nimg if clock else 0,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            threads=self.threads,
        )
