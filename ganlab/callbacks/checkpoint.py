"""Checkpoints of everything that a resume needs, written on a thread while training goes on."""

from pathlib import Path
from typing import Any

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.ticks import Ticks
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals
from ganlab.engine.state import state_of
from ganlab.experiment.checkpoints import Writer, path_at


class Checkpoints(EveryImages):
    """Saves the run, with `about` (config, fingerprint of the dataset) and the metrics of the last tick."""

    def __init__(
        self, folder: Path, *, every: int, signals: Signals, writer: Writer, ticks: Ticks, about: dict[str, Any]
    ) -> None:
        super().__init__(every, signals)
        self.folder, self.writer, self.ticks, self.about = folder, writer, ticks, about

    def fire(self, module: Game) -> None:
        """Start writing, on rank 0."""
        checkpoint = {**state_of(module), **self.about, "metrics": self.ticks.row}
        if distributed.rank() == 0:
            self.writer.submit(checkpoint, path_at(self.folder, module.clock.nimg))
            if self.ticks.row:
                self.writer.look_for_best(name for name in self.ticks.row if "/" in name)

    def end(self) -> None:
        """Wait until the last one is on disk."""
        self.writer.wait()

    def failed(self, error: BaseException) -> None:
        """Wait until a checkpoint that is being written is on disk."""
        self.writer.wait()
