"""Checkpoints of all that a resume needs, every so many images, written behind the game's back."""

from pathlib import Path
from typing import Any

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.ticks import Ticks
from ganlab.engine.game import Game
from ganlab.engine.state import state_of
from ganlab.experiment.checkpoints import Writer, path_at


class Checkpoints(EveryImages):
    """Saves the run; in the file are also what it is `about` (config, dataset) and the metrics of the last tick."""

    def __init__(self, folder: Path, *, every: int, writer: Writer, ticks: Ticks, about: dict[str, Any]) -> None:
        super().__init__(every)
        self.folder, self.writer, self.ticks, self.about = folder, writer, ticks, about

    def fire(self, module: Game) -> None:
        """Begin to write, on rank 0."""
        checkpoint = {**state_of(module), **self.about, "metrics": self.ticks.row}
        if distributed.rank() == 0:
            self.writer.submit(checkpoint, path_at(self.folder, module.clock.nimg))
            if self.ticks.row:
                self.writer.look_for_best(name for name in self.ticks.row if "/" in name)

    def end(self) -> None:
        """Wait until the last one is on disk."""
        self.writer.wait()

    def failed(self, error: BaseException) -> None:
        """Let a checkpoint that is being written come to its end."""
        self.writer.wait()
