"""The dataset as a LightningDataModule."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ganlab import distributed
from ganlab.data.read.base import Dataset
from ganlab.data.read.loader import BatchLoader
from ganlab.data.read.open import open_data
from ganlab.data.read.streams import Streams
from ganlab.keys import key
from ganlab.types import ImageSpec, Phase


class ShardData(pl.LightningDataModule):
    """Batches of a dataset, starting at the module's clock.

    Args:
        dataset: the dataset, or its folder or URL.
        other: the dataset of a second stream, in an order of its own; the batches are then mappings (`Streams`).
        mirror_other: flip half of its images.
        batch: images in a batch, over all ranks; None uses the module's `plan`.
        seed: seed of the order.
        threads: decoding threads per process.
        mirror: flip half of the images, left to right.
    """

    def __init__(
        self,
        dataset: Dataset | str | Path,
        *,
        batch: int | None = 64,
        seed: int = 0,
        threads: int = 2,
        mirror: bool = False,
        other: Dataset | None = None,
        mirror_other: bool = False,
    ) -> None:
        super().__init__()
        self.dataset = dataset if isinstance(dataset, Dataset) else open_data(str(dataset))
        self.batch, self.seed, self.threads, self.mirror = batch, seed, threads, mirror
        self.other, self.mirror_other = other, mirror_other

    @property
    def fingerprint(self) -> str:
        """A hash that changes with any image of any stream."""
        if self.other is None:
            return self.dataset.fingerprint
        return hashlib.sha256(f"{self.dataset.fingerprint} {self.other.fingerprint}".encode()).hexdigest()

    @property
    def image(self) -> ImageSpec:
        """Shape and classes of the images."""
        return self.dataset.image

    def train_dataloader(self) -> Iterable[Sequence[Tensor] | Mapping[str, Tensor]]:
        """Return a loader that starts at the images already shown: Lightning calls this after loading a checkpoint."""
        assert self.trainer is not None
        return self.loader(self.trainer.lightning_module, self.trainer.strategy.root_device)

    def loader(self, module: Any, device: torch.device) -> Iterable[Sequence[Tensor] | Mapping[str, Tensor]]:
        """Return this rank's loader for a module on a device, starting at its clock and following its plan.

        For a module without these it starts at the first image, with images of full size.
        """
        clock, plan = getattr(module, "clock", None), getattr(module, "plan", lambda _: Phase(0, self.image))

        def with_batch(nimg: int) -> Phase:
            phase: Phase = plan(nimg)
            return phase if self.batch is None else replace(phase, batch=self.batch)

        def read(dataset: Dataset, plan: Callable[[int], Phase], seed: int, mirror: bool) -> BatchLoader:
            return BatchLoader(
                dataset,
                plan=plan,
                seed=seed,
                start=clock.nimg if clock else 0,
                rank=distributed.rank(),
                world_size=distributed.world_size(),
                threads=self.threads,
                mirror=mirror,
                pin_memory=device.type == "cuda",
            )

        first = read(self.dataset, with_batch, self.seed, self.mirror)
        if (other := self.other) is None:
            return first

        def beside(nimg: int) -> Phase:
            phase = with_batch(nimg)
            return replace(phase, image=other.image.scaled(phase.image.height, of=self.image.height))

        return Streams(first, read(other, beside, key(self.seed, "other"), self.mirror_other))
