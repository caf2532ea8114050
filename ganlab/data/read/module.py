"""The dataset as a LightningDataModule."""

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
    """Batches of a dataset of shards, starting at the module's clock.

    Args:
        dataset: the dataset, or its folder or URL.
        batch: images in a batch, over all ranks; None uses the module's `plan`.
        seed: seed of the order.
        threads: decoding threads per process.
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
        """The index of the dataset."""
        return self.dataset.index

    @property
    def image(self) -> ImageSpec:
        """Shape and classes of the images."""
        return self.dataset.image

    def train_dataloader(self) -> BatchLoader:
        """Return a loader that starts at the images already shown: Lightning calls this after loading a checkpoint."""
        assert self.trainer is not None
        return self.loader(self.trainer.lightning_module, self.trainer.strategy.root_device)

    def loader(self, module: Any, device: torch.device) -> BatchLoader:
        """Return this rank's loader for a module on a device, starting at its clock and following its plan.

        For a module without these it starts at the first image, with images of full size.
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
