"""Bad samples of all ranks: reported, listed in `bad_samples.jsonl`, and counted together."""

import json
from dataclasses import asdict
from pathlib import Path

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.ticks import Ticks
from ganlab.data.format.faults import BadSample, Faults
from ganlab.engine.game import Game
from ganlab.experiment.records import Events


class BadSamples(EveryImages):
    """Collects at each tick the bad samples that the decoders have found.

    Raises:
        UserError: on every rank, with the list, when all ranks together have found more than `faults` allows.
    """

    def __init__(self, file: Path, *, every: int, faults: Faults, ticks: Ticks, events: Events) -> None:
        super().__init__(every)
        self.file, self.faults, self.ticks, self.events = file, faults, ticks, events
        self.shared: set[int] = set()

    def fire(self, module: Game) -> None:
        """Gather the new bad samples of all ranks, and list each once."""
        found = {bad.sample: bad for bad in distributed.gather(self._new())}
        self.shared |= found.keys()
        if found and distributed.rank() == 0:
            self._write(list(found.values()))
            facts = {"found": len(found), "listed_in": self.file.name}
            self.events.add("bad samples", module.clock.nimg, module.runtime.attempt, **facts)
            if self.ticks.progress is not None:
                self.ticks.progress.print(f"{len(found):,} bad samples were replaced; they are listed in {self.file}")
        self.faults.add(*found.values())

    def failed(self, error: BaseException) -> None:
        """List the bad samples of this rank that were not gathered yet, which may be the cause of the error."""
        self._write(self._new())

    def _new(self) -> list[BadSample]:
        return [bad for bad in self.faults.all() if bad.sample not in self.shared]

    def _write(self, found: list[BadSample]) -> None:
        """Append those that the file does not list yet."""
        listed = self.file.read_text() if self.file.exists() else ""
        lines = [json.dumps(asdict(bad)) + "\n" for bad in found]
        if new := "".join(line for line in lines if line not in listed):
            with self.file.open("a") as file:
                file.write(new)
