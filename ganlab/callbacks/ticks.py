"""A line of metrics every so many images: in `metrics.jsonl`, on the screen and in W&B."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ganlab import distributed
from ganlab.callbacks.every import EveryImages
from ganlab.callbacks.tracker import Tracker
from ganlab.files import atomic_write
from ganlab.models import GANModule
from ganlab.progress import Progress


class NotFiniteError(FloatingPointError):
    """Gradients have stopped being finite."""


class Ticks(EveryImages):
    """Reads the statistics that the moves left on the device: once a tick, the only host sync of it.

    Raises:
        NotFiniteError: moves were masked, unless `skip` says to go on. (Under float16: all moves of a tick, since one
            now and then is the loss scale finding its level.)
        RuntimeError: the ranks no longer hold the same weights.
    """

    def __init__(self, file: Path, *, every: int, total_nimg: int, skip: bool, tracker: Tracker | None) -> None:
        super().__init__(every)
        self.file, self.total_nimg, self.skip, self.tracker = file, total_nimg, skip, tracker
        self.row: dict[str, Any] = {}
        """The last line."""
        self.progress: Progress | None = None  # on rank 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the clock and the bar; drop lines of images that a killed run saw but did not save."""
        super().on_train_start(trainer, module)
        assert isinstance(module, GANModule)
        module.stopwatch.start(module.device)
        self.last_nimg, self.last_time = self.seen, time.monotonic()
        self.first_time = self.last_time
        if trainer.is_global_zero:
            rows = drop_lines_after(self.seen, self.file)
            self.first_time -= rows[-1]["seconds"] if rows else 0.0
            if self.tracker is not None:
                self.tracker.replay(rows)
            self.progress = Progress("training", self.total_nimg, self.seen, seconds_between_lines=0.0)

    def fire(self, trainer: pl.Trainer, module: GANModule) -> None:
        """Write the line, and see that all is well."""
        means = module.statistics.read()
        now, nimg = time.monotonic(), module.clock.nimg
        self.row = row = {
            "nimg": nimg,
            "seconds": round(now - self.first_time, 3),
            "images_per_second": round((nimg - self.last_nimg) / (now - self.last_time), 2),
            **{name: value for name, value in means.items() if not name.endswith("/not_finite")},
            **{f"{player}/lr": lr for player, lr in module.learning_rates().items()},
            **{f"seconds/{name}": round(seconds, 6) for name, seconds in module.stopwatch.read().items()},
            "memory_bytes": memory_bytes(module.device),
        }
        if self.progress is not None:
            losses = {player: row.get(f"{player}/loss") for player in module.players}  # None: no move in this tick
            facts = " ".join(f"{player} {loss:.3f}" for player, loss in losses.items() if loss is not None)
            self.progress.update(nimg - self.last_nimg, facts)
            self._write(row)
        self.last_nimg, self.last_time = nimg, now
        self._check_finite(module, means)
        if distributed.world_size() > 1 and (names := distributed.differing(module.state_dict().items())):
            raise RuntimeError(f"at {nimg:,} images the ranks hold different values of {', '.join(names[:5])}")

    def add(self, nimg: int, values: Mapping[str, float]) -> None:
        """Add a line of what else was found at `nimg`; on rank 0. The next checkpoint tells it too."""
        self._write({"nimg": nimg, "seconds": round(time.monotonic() - self.first_time, 3), **values})
        self.row = {**self.row, **values}

    def _write(self, row: Mapping[str, int | float]) -> None:
        finite = {k: v if math.isfinite(v) else None for k, v in row.items()}  # JSON has no NaN
        with self.file.open("a") as file:
            file.write(json.dumps(finite) + "\n")
        if self.tracker is not None:
            self.tracker.log(int(row["nimg"]), dict(row))

    def _check_finite(self, module: GANModule, means: dict[str, float]) -> None:
        for name, player in module.seats.items():
            masked = means.get(f"{name}/not_finite", 0.0)
            if masked == 0 or (module.runtime.precision == "fp16" and masked < 1):
                continue
            terms = [key for key, mean in means.items() if key.startswith(f"{name}/") and not math.isfinite(mean)]
            culprits = sorted(player.read_culprits())
            more = f" and {len(culprits) - 3} more" if len(culprits) > 3 else ""
            text = (
                f"at {module.clock.nimg:,} images: {masked:.1%} of the {name}'s moves in this tick had a gradient "
                f"that is infinite or not a number, in {', '.join(culprits[:3])}{more}; "
                f"terms not finite: {', '.join(terms) or 'none'}. Those moves were left out, so the weights are good"
            )
            if not self.skip:
                raise NotFiniteError(f"{text}. Lower the learning rate, add a penalty, or see train.on_not_finite")
            if self.progress is not None:
                self.progress.print(text)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Fire for the last images and close the bar."""
        super().on_train_end(trainer, module)
        self.close()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, error: BaseException) -> None:
        """Close the bar, so that the error's message has a line of its own."""
        self.close()

    def close(self) -> None:
        """Close the bar, where there is one."""
        if self.progress is not None:
            self.progress.close()


def memory_bytes(device: torch.device) -> int:
    """Return the most memory this process has held: of the GPU where it trains on one, else its resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    for line in Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []:
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def drop_lines_after(nimg: int, file: Path) -> list[dict[str, Any]]:
    """Keep the lines of a metrics file up to `nimg` and return them; a line that a kill cut short is dropped too."""
    if not file.exists():
        return []
    lines, rows = [], []
    for line in file.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["nimg"] <= nimg:
            lines.append(line + "\n")
            rows.append(row)
    with atomic_write(file) as out:
        out.write("".join(lines).encode())
    return rows
