"""Bad samples of all ranks: told to a person, listed in `bad_samples.jsonl`, and counted together."""

import json
from dataclasses import asdict
from pathlib import Path

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.ticks import Ticks
from ganlab.data.format.faults import BadSample, Faults
from ganlab.engine.game import Game


class BadSamples(EveryImages):
    """Looks at each tick what the decoders have met.

    Raises:
        UserError: on every rank, with the list, when all together have met more than the dataset's faults allow.
    """

    def __init__(self, file: Path, *, every: int, faults: Faults, ticks: Ticks) -> None:
        super().__init__(every)
        self.file, self.faults, self.ticks = file, faults, ticks
        self.shared: set[int] = set()

    def fire(self, module: Game) -> None:
        """Tell each other what is new, and write it down once."""
        found = {bad.sample: bad for bad in distributed.gather(self._new())}
        self.shared |= found.keys()
        if found and distributed.rank() == 0:
            self._write(list(found.values()))
            if self.ticks.progress is not None:
                self.ticks.progress.print(f"{len(found):,} bad samples were replaced; they are listed in {self.file}")
        self.faults.add(*found.values())

    def failed(self, error: BaseException) -> None:
        """Write down what has not been shared: there may have been too many."""
        self._write(self._new())

    def _new(self) -> list[BadSample]:
        return [bad for bad in self.faults.all() if bad.sample not in self.shared]

    def _write(self, found: list[BadSample]) -> None:
        """Append those that the file has not: a run before this one may have met them too."""
        listed = self.file.read_text() if self.file.exists() else ""
        lines = [json.dumps(asdict(bad)) + "\n" for bad in found]
        if new := "".join(line for line in lines if line not in listed):
            with self.file.open("a") as file:
                file.write(new)
