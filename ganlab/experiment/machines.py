"""What runs reached on this machine before, cached, and how long another run will take here, roughly."""

import json
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ganlab import distributed
from ganlab.engine.game import Game
from ganlab.experiment.build import count_work, on_gpu
from ganlab.experiment.frame import Config
from ganlab.experiment.limits import Rates, reachable
from ganlab.files import atomic_write, cache_folder

UNITS = (
    (63_072_000, 31_536_000, "years"),
    (172_800, 86_400, "days"),
    (5_400, 3_600, "hours"),
    (90, 60, "minutes"),
    (0, 1, "seconds"),
)
"""From how many seconds on a time is told in which unit."""


def file_of(kind: str, threads: int, precision: str) -> Path:
    """Return the file of this host's cached self-check; `kind` is cpu or cuda."""
    name = f"{socket.gethostname()}-{kind}-{threads}-threads-{precision}"
    return cache_folder() / "machines" / (re.sub(r"[^\w.-]", "-", name) + ".json")


def remember(rates: Rates, device: torch.device, precision: str, share: float) -> None:
    """Cache the measured speeds, and the share of the limit that a run has reached; a cache may fail."""
    file = file_of(device.type, torch.get_num_threads(), precision)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as out:
            out.write(json.dumps({"rates": asdict(rates), "share": share}).encode())


def recalled(config: Config) -> tuple[Rates, float] | None:
    """Return the cached speeds of this machine, for a config's device, threads and precision, and the share."""
    kind = "cuda" if on_gpu(config.machine) else "cpu"
    file = file_of(kind, config.machine.threads or torch.get_num_threads(), config.machine.precision)
    try:
        known: Mapping[str, Any] = json.loads(file.read_bytes())
        return Rates(**known["rates"]), float(known["share"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def tell_time(config: Config, model: Game) -> str | None:
    """Tell in one line how long a run of an unseated model will take here; None if no run has been here before."""
    if (known := recalled(config)) is None:
        return None
    rates, share = known
    total, seconds = config.train.total_nimg, 0.0
    begins = [phase.from_nimg for phase in model.phases if phase.from_nimg < total]
    works = count_work(config, model)
    for begin, end in zip(begins, [*begins[1:], total], strict=True):
        limit = reachable(works[begin], rates, config.machine.precision) * distributed.world_size()
        seconds += (end - begin) / (limit * share)
    rate = f"{total / seconds:,.0f}" if total > 10 * seconds else f"{total / seconds:.2g}"
    return (
        f"time        about {duration(seconds)} on this machine: {rate} images/s, "
        f"{100 * share:.2g}% of its limit, as a run has reached here"
    )


def duration(seconds: float) -> str:
    """Return a rough time: `12 minutes`."""
    size, unit = next((size, unit) for least, size, unit in UNITS if seconds >= least)
    return f"{seconds / size:,.0f} {unit}"
