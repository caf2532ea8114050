"""Evaluation during training: the averaged generator against reals, shared by all ranks."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.ticks import Ticks
from ganlab.engine import sharding
from ganlab.engine.clock import crossed
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals
from ganlab.evaluation.evaluate import SEED, check, evaluate
from ganlab.evaluation.images import ImageSet, Samples
from ganlab.evaluation.protocol import circumstances, failed_row
from ganlab.experiment.checkpoints import Writer, path_at
from ganlab.experiment.frame import Config
from ganlab.experiment.records import Events, append, read_lines
from ganlab.metrics.features import Extractor
from ganlab.types import Images, Labels, Pixels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judge:
    """What the generator is compared with."""

    reals: ImageSet
    metrics: tuple[str, ...]
    extractor: Extractor | None


class InterruptedEvaluationError(Exception):
    """Raised when a signal asks the run to stop during an evaluation."""


class InterruptibleSamples(Samples):
    """Samples whose generation stops after a signal."""

    signals: Signals

    def block(self, start: int) -> tuple[Pixels | Images, Labels]:
        """Make a block of samples."""
        if self.signals.number:
            raise InterruptedEvaluationError("a signal asks the run to stop")
        return super().block(start)


class Evaluations(EveryImages):
    """Adds rows to `results.jsonl`, and a line to the metrics: each value by its metric and by its full name.

    It runs after the checkpoint is saved, and adds the values to the file beside it. An evaluation that a kill or a
    signal interrupted is repeated when the run resumes; one that fails writes rows without values.
    """

    def __init__(
        self, run: Path, *, config: Config, judge: Judge, ticks: Ticks, writer: Writer, events: Events, signals: Signals
    ) -> None:
        assert config.evaluation.every_nimg is not None
        super().__init__(config.evaluation.every_nimg)
        self.run, self.config, self.judge, self.ticks = run, config, judge, ticks
        self.writer, self.events, self.signals = writer, events, signals

    def start(self, module: Game) -> None:
        """Refuse what cannot be measured, before the first step, and repeat an interrupted evaluation."""
        if self.judge.extractor is not None:
            self.judge.extractor.to(module.device)
        samples = Samples(module, self.config.evaluation.samples, SEED)
        check(self.judge.metrics, samples, self.judge.reals, self.judge.extractor)
        if distributed.decide(lambda: is_owed(self.run, self.config, module.clock.nimg)):
            self.fire_now(module)
        super().start(module)

    def fire(self, module: Game) -> None:
        """Evaluate on all ranks, and write the rows on rank 0."""
        nimg, metrics = module.clock.nimg, self.judge.metrics
        about = circumstances(module.device, nimg, self.config)
        sharding.gather(*module.averaged_networks)  # ranks make different images
        try:
            rows = evaluate(
                self._samples(module),
                self.judge.reals,
                metrics,
                self.judge.extractor,
                module.device,
                about=about,
                pictures=self.run / "samples",
                going_on=True,
            )
        except Exception as error:
            if distributed.is_lost(error):
                raise
            if any(distributed.gather([self.signals.number])):
                return
            rows = [{**failed_row(metric, error), **about} for metric in metrics]
        finally:
            sharding.release(*module.averaged_networks)
        if distributed.rank() == 0:
            self._record(module, rows)

    def _record(self, module: Game, rows: list[dict[str, Any]]) -> None:
        nimg = module.clock.nimg
        append(self.run / "results.jsonl", rows)
        for row in rows:
            if row["value"] is None:
                self.events.add(
                    "evaluation failed", nimg, module.runtime.attempt, metric=row["metric"], reason=row["error"]
                )
                log.warning("evaluation: %s at %s images: %s", row["metric"], f"{nimg:,}", row["error"])
        good = [row for row in rows if row["value"] is not None]
        values = {row["metric"]: row["value"] for row in good} | {row["name"]: row["value"] for row in good}
        if values:
            told = {row["name"]: row["value"] for row in good}
            self.events.add("evaluation", nimg, module.runtime.attempt, values=told)
            self.ticks.add(nimg, values)
            self.writer.judge(path_at(self.run / "checkpoints", nimg), values)

    def _samples(self, module: Game) -> Samples:
        samples = InterruptibleSamples(module, self.config.evaluation.samples, SEED)
        samples.signals = self.signals
        return samples


def is_owed(run: Path, config: Config, nimg: int) -> bool:
    """Tell whether an evaluation was due by `nimg` images that `results.jsonl` does not have."""
    if config.evaluation.every_nimg is None:
        return False
    judged = max((row["nimg"] or 0 for row in read_lines(run / "results.jsonl")), default=0)
    return judged < nimg and (nimg >= config.train.total_nimg or crossed(config.evaluation.every_nimg, judged, nimg))
