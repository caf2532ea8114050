"""The records of a run: files of lines of JSON, each line whole on disk before the next.

`metrics.jsonl` and `results.jsonl` tell of the run as it is: going on from a checkpoint cuts off what came after it.
`events.jsonl` tells of what happened to it, and is never cut.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ganlab import distributed
from ganlab.files import atomic_write

CUT = ("metrics.jsonl", "results.jsonl")


def append(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add lines to a file, after what a kill may have left of one: in one write, on disk before it returns."""
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" * bool(torn) + text)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Read a file, where it is there, without the lines that a kill cut short."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def cut_after(nimg: int, file: Path) -> None:
    """Keep the lines of a file of up to `nimg` images, or of no moment at all, as they are."""
    if not file.exists():
        return
    lines = []
    for line in file.read_text().splitlines():
        try:
            at = json.loads(line)["nimg"]
        except ValueError:  # a kill cut it short
            continue
        if at is None or at <= nimg:
            lines.append(line + "\n")
    with atomic_write(file) as out:
        out.write("".join(lines).encode())


class Events:
    """What happens to a run: starts, stops, failures, checkpoints. Rank 0 writes."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, event: str, nimg: int, attempt: int, **facts: Any) -> None:
        """Add an event: its name, images shown by then, UTC time, attempt, and what else is to be said of it."""
        if distributed.rank() == 0:
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            append(self.file, [{"event": event, "nimg": nimg, "time": time, "attempt": attempt, **facts}])
