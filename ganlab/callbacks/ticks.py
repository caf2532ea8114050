"""A line of metrics every so many images: in `metrics.jsonl`, on the screen and in W&B."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.tracker import Trackers
from ganlab.engine.clock import crossed
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals
from ganlab.engine.statistics import SPREAD
from ganlab.experiment.records import Events, now, read_lines
from ganlab.progress import Progress


class NotFiniteError(FloatingPointError):
    """Gradients are not finite."""


class Ticks(EveryImages):
    """Reads the statistics that the steps recorded on the device: once a tick, its only host sync.

    A tick comes early if a checkpoint is due and steps were masked, so that masked steps are judged before it is saved.

    Args:
        file: file of the lines.
        every: images in a tick.
        checkpoint_every: images between two checkpoints.
        total_nimg: images of the whole run.
        signals: tells when the first checkpoint is due.
        skip: continue after masked steps.
        trackers: get each line.
        events: record of masked steps.

    Raises:
        NotFiniteError: steps were masked and `skip` is False. (Under float16: all steps of a tick, since the loss scale
            masks one now and then.)
        RuntimeError: the ranks no longer hold the same weights.
    """

    def __init__(
        self,
        file: Path,
        *,
        every: int,
        checkpoint_every: int,
        total_nimg: int,
        signals: Signals,
        skip: bool,
        trackers: Trackers | None,
        events: Events,
    ) -> None:
        super().__init__(every)
        self.file, self.total_nimg, self.skip, self.trackers = file, total_nimg, skip, trackers
        self.checkpoint_every, self.signals, self.events = checkpoint_every, signals, events
        self.row: dict[str, Any] = {}
        """The last line."""
        self.progress: Progress | None = None  # on rank 0

    def start(self, module: Game) -> None:
        """Start the times and the progress bar where the run resumes."""
        super().start(module)
        module.stopwatch.start(module.device)
        self.last_nimg, self.last_time = self.seen, time.monotonic()
        self.first_time = self.last_time
        if distributed.rank() == 0:
            rows = read_lines(self.file)
            self.first_time -= rows[-1]["seconds"] if rows else 0.0
            if self.trackers is not None:
                self.trackers.begin(rows)
            self.progress = Progress("training", self.total_nimg, self.seen, seconds_between_lines=60.0)

    def after_step(self, module: Game, last: bool) -> None:
        """Write a line if it is due, and show how far the run is."""
        super().after_step(module, last)
        if self.progress is not None and module.clock.nimg > self.progress.done:
            self.progress.update(module.clock.nimg - self.progress.done)

    def due(self, module: Game) -> bool:
        """Tell whether a tick is over."""
        if super().due(module):
            return True
        saved = self.signals.early or crossed(self.checkpoint_every, self.seen, module.clock.nimg)
        return saved and any(player.culprits.any() for player in module.seats.values())

    def fire(self, module: Game) -> None:
        """Write the line, and check for masked steps and for ranks that differ."""
        means = module.statistics.read()
        for player in module.players:  # the norms of the steps that were made
            if (norm := means.get(f"{player}/gradient_norm")) is not None:
                made = 1 - means[f"{player}/not_finite"]
                means[f"{player}/gradient_norm"] = norm / made if made else math.nan
        moment, nimg = time.monotonic(), module.clock.nimg
        self.row = row = {
            "nimg": nimg,
            "seconds": round(moment - self.first_time, 3),
            "images_per_second": round((nimg - self.last_nimg) / (moment - self.last_time), 2),
            **{name: value for name, value in means.items() if not name.endswith("/not_finite")},
            **{f"{player}/lr": lr for player, lr in module.learning_rates().items()},
            **{f"seconds/{name}": round(seconds, 6) for name, seconds in module.stopwatch.read().items()},
            "memory_bytes": memory_bytes(module.device),
        }
        if self.progress is not None:
            losses = {player: row.get(f"{player}/loss") for player in module.players}  # None: no step in this tick
            facts = " ".join(
                f"{player} {loss:{'.3f' if abs(loss) < 1000 else '.3g'}}"
                for player, loss in losses.items()
                if loss is not None
            )
            self.progress.update(nimg - self.progress.done, facts, tell=True)
            self._write(row)
        self.last_nimg, self.last_time = nimg, moment
        self._check_finite(module, means)
        if distributed.world_size() > 1 and (names := distributed.differing(module.state_dict().items())):
            raise RuntimeError(f"at {nimg:,} images the ranks hold different values of {', '.join(names[:5])}")

    def add(self, nimg: int, values: Mapping[str, float]) -> None:
        """Add a line of other values at `nimg`; on rank 0."""
        self._write({"nimg": nimg, "seconds": round(time.monotonic() - self.first_time, 3), **values})

    def _write(self, row: Mapping[str, int | float]) -> None:
        finite = {k: v if math.isfinite(v) else None for k, v in row.items()}  # JSON has no NaN
        with self.file.open("a") as file:
            file.write(json.dumps({**finite, "time": now()}) + "\n")
        if self.trackers is not None:
            self.trackers.log(int(row["nimg"]), dict(row))

    def _check_finite(self, module: Game, means: dict[str, float]) -> None:
        for name, seat in module.seats.items():
            culprits = sorted(seat.read_culprits())
            masked = means.get(f"{name}/not_finite", 0.0)
            if masked == 0 or (module.runtime.precision == "fp16" and masked < 1):
                continue
            bad = [key for key, mean in means.items() if key.startswith(f"{name}/") and not math.isfinite(mean)]
            terms = [key for key in bad if not key.endswith((SPREAD, "/gradient_norm"))]
            more = f" and {len(culprits) - 3} more" if len(culprits) > 3 else ""
            text = (
                f"at {module.clock.nimg:,} images: {masked:.1%} of the {name}'s steps in this tick had a gradient "
                f"that is infinite or not a number, in {', '.join(culprits[:3])}{more}; "
                f"terms not finite: {', '.join(terms) or 'none'}. Those steps were left out, so the weights are good"
            )
            facts = {"player": name, "masked": masked, "parameters": culprits[:20], "terms": terms}
            self.events.add("not-finite", module.clock.nimg, module.runtime.attempt, **facts)
            if not self.skip:
                raise NotFiniteError(f"{text}. Lower the learning rate, add a penalty, or see train.on_not_finite")
            if self.progress is not None:
                self.progress.print(text)

    def end(self) -> None:
        """Close the bar."""
        if self.progress is not None:
            self.progress.close()

    def failed(self, error: BaseException) -> None:
        """Close the bar, so that the error's message has a line of its own."""
        self.end()


def memory_bytes(device: torch.device) -> int:
    """Return the peak memory of this process: of the GPU if it trains on one, else its resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    for line in Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []:
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0
