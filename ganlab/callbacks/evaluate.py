"""Evaluation as training goes on: the averaged generator against reals, shared by all ranks."""

from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl

from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.ticks import Ticks
from ganlab.evaluation.evaluate import SEED, check, evaluate
from ganlab.evaluation.images import ImageSet, Samples
from ganlab.evaluation.protocol import circumstances
from ganlab.evaluation.results import append
from ganlab.experiment.frame import Config
from ganlab.metrics.features import Extractor
from ganlab.models import GANModule


@dataclass(frozen=True)
class Judge:
    """By what a generator is judged."""

    reals: ImageSet
    extractor: Extractor | None


class Evaluate(EveryImages):
    """Adds rows to `results.jsonl`, and to the metrics a line: each value by its metric and by its full name."""

    def __init__(self, run: Path, *, config: Config, judge: Judge, ticks: Ticks) -> None:
        assert config.evaluation.every_nimg is not None
        super().__init__(config.evaluation.every_nimg)
        self.run, self.config, self.judge, self.ticks = run, config, judge, ticks

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Refuse what cannot be measured before the first move."""
        super().on_train_start(trainer, module)
        assert isinstance(module, GANModule)
        if self.judge.extractor is not None:
            self.judge.extractor.to(module.device)
        check(self.config.evaluation.metrics, self._samples(module), self.judge.reals, self.judge.extractor)

    def fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        """Evaluate on all ranks, write on rank 0."""
        rows = evaluate(
            self._samples(module),
            self.judge.reals,
            self.config.evaluation.metrics,
            self.judge.extractor,
            module.device,
            about=circumstances(module.device, module.clock.nimg, self.config),
            pictures=self.run / "samples",
        )
        if rows:
            append(self.run / "results.jsonl", rows)
            values = {row["metric"]: row["value"] for row in rows} | {row["name"]: row["value"] for row in rows}
            self.ticks.add(module.clock.nimg, values)

    def _samples(self, module: GANModule) -> Samples:
        return Samples(module, self.config.evaluation.samples, SEED)
