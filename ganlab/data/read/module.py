"""The dataset as Lightning wants it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ganlab import distributed
from ganlab.data.format.shards import Index
from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.loader import BatchLoader
from ganlab.types import ImageSpec, Phase


class ShardData(pl.LightningDataModule):
    """Batches of a dataset of shards, beginning where the module's clock stands.

    Args:
        dataset: the dataset, or where it lies.
        batch: images in a batch, over all ranks; None leaves it to the module's `plan`.
        seed: of the order.
        threads: that decode, per process.
        mirror: flip half of the images, left to right.
    """

    def __init__(
        self,
        dataset: ShardDataset | str | Path,
        *,
        batch: int | None = 64,
        seed: int = 0,
        threads: int = 2,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.dataset = dataset if isinstance(dataset, ShardDataset) else ShardDataset(dataset)
        self.batch, self.seed, self.threads, self.mirror = batch, seed, threads, mirror

    @property
    def index(self) -> Index:
        """What is in the dataset."""
        return self.dataset.index

    @property
    def image(self) -> ImageSpec:
        """What the images are."""
        return self.dataset.image

    def train_dataloader(self) -> BatchLoader:
        """Return a loader that begins at the images already seen: Lightning asks after it has loaded a checkpoint."""
        assert self.trainer is not None
        return self.loader(self.trainer.lightning_module, self.trainer.strategy.root_device)

    def loader(self, module: Any, device: torch.device) -> BatchLoader:
        """Return this rank's loader for a module on a device, beginning at its clock and following its plan.

        A module that has neither begins at the first image, with images of their full size.
        """
        clock, plan = getattr(module, "clock", None), getattr(module, "plan", lambda _: Phase(0, self.image))

        def with_batch(nimg: int) -> Phase:
            phase: Phase = plan(nimg)
            return phase if self.batch is None else replace(phase, batch=self.batch)

        return BatchLoader(
            self.dataset,
            plan=with_batch,
            seed=self.seed,
            start=clock.nimg if clock else 0,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            threads=self.threads,
            mirror=self.mirror,
            pin_memory=device.type == "cuda",
        )
