"""The file of a run's results, `results.jsonl`: a line for each value, and what is the best of them."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

HIGHER_IS_BETTER = frozenset({"is", "precision", "recall", "density", "coverage", "cas", "probe"})
NEITHER = frozenset({"msssim", "neighbours"})
"""Read beside their floors."""


def append(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add lines to a results file, after what a kill may have left of one: in one write, on disk before it returns."""
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" * bool(torn) + text)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(run: Path) -> list[dict[str, Any]]:
    """Read a run's results, oldest first; lines that a kill cut short are left out, and told of."""
    file, rows, torn = run / "results.jsonl", [], []
    for number, line in enumerate(file.read_bytes().splitlines() if file.exists() else (), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            torn.append(number)
    if torn:
        log.warning("%s: left out what a kill cut short: line %s", file, ", ".join(map(str, torn)))
    return rows


def best(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> str:
    """Return the best of a run's results under a row's protocol, for people; nothing where none is better."""
    same = [other for other in rows if other["metric"] == row["metric"] and other["protocol"] == row["protocol"]]
    if row["metric"] in NEITHER:
        return ""
    choose = max if row["metric"] in HIGHER_IS_BETTER else min
    found = choose(same, key=lambda other: other["value"])
    return "" if found["nimg"] is None else f"best {found['value']:.4g} at {found['nimg']:,}"


def error(row: Mapping[str, Any]) -> str:
    """Return the standard error as a person reads it."""
    return "" if row["standard_error"] is None else f"± {row['standard_error']:.3g}"
