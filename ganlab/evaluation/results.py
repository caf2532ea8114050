"""The file of a run's results, `results.jsonl`: a line for each value, and what is the best of them."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

HIGHER_IS_BETTER = frozenset({"is", "precision", "recall", "density", "coverage", "cas", "probe"})
NEITHER = frozenset({"msssim", "neighbours"})
"""Read beside their floors."""


def read(run: Path) -> list[dict[str, Any]]:
    """Read a run's results, oldest first, without evaluations that failed; lines that a kill cut short are told of."""
    file, rows, torn = run / "results.jsonl", [], []
    for number, line in enumerate(file.read_bytes().splitlines() if file.exists() else (), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            torn.append(number)
    if torn:
        log.warning("%s: left out what a kill cut short: line %s", file, ", ".join(map(str, torn)))
    return [row for row in rows if row["value"] is not None]


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
