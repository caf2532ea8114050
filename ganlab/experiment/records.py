"""The records of a run: JSON Lines files. What is appended is on disk before `append` returns.

`metrics.jsonl` and `results.jsonl` describe the run's current history: resuming from a checkpoint cuts off later lines.
`events.jsonl` is the log of what happened, and is never cut. Nothing here needs torch but the log itself.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ganlab.files import atomic_write

CUT = ("metrics.jsonl", "results.jsonl")


def append(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append lines to a file in one write, on disk before it returns; an incomplete last line is ended first."""
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
    """Read a file without incomplete lines, which a kill or a loss of power may leave; empty if there is no file."""
    rows = []
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def cut_after(nimg: int, file: Path) -> None:
    """Remove the lines of a file that are later than `nimg` images; lines without a time are kept."""
    if not file.exists():
        return
    lines = []
    for line in file.read_bytes().splitlines():
        try:
            at = json.loads(line)["nimg"]
        except ValueError:  # incomplete
            continue
        if at is None or at <= nimg:
            lines.append(line + b"\n")
    with atomic_write(file) as out:
        out.write(b"".join(lines))


def now() -> str:
    """Return the time in UTC, as all lines state it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Events:
    """The log of a run's starts, stops, failures and checkpoints. Rank 0 writes it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, event: str, nimg: int, attempt: int, **facts: Any) -> None:
        """Add an event: its name, images shown, UTC time, attempt, and other facts."""
        from ganlab import distributed  # imports torch

        if distributed.rank() == 0:
            append(self.file, [{"event": event, "nimg": nimg, "time": now(), "attempt": attempt, **facts}])
