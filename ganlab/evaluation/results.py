"""A run's `results.jsonl`, one line per value, and the best values in it."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

HIGHER_IS_BETTER = frozenset(
    {"is", "precision", "recall", "density", "coverage", "cas", "probe", "modes", "high_quality", "parzen", "psnr"}
)
NEITHER = frozenset({"msssim", "field", "neighbours", "mean", "deviation", "p_value", "sigma", "conditioning"})
"""Metrics to be read beside their floors, without a best value."""


def read(run: Path) -> list[dict[str, Any]]:
    """Read a run's results, oldest first, without failed evaluations; incomplete lines are reported."""
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
    """Return the best of a run's results under a row's protocol, as text; empty for metrics in `NEITHER`."""
    same = [other for other in rows if other["metric"] == row["metric"] and other["protocol"] == row["protocol"]]
    if row["metric"] in NEITHER:
        return ""
    choose = max if row["metric"] in HIGHER_IS_BETTER else min
    found = choose(same, key=lambda other: other["value"])
    return "" if found["nimg"] is None else f"best {found['value']:.4g} at {found['nimg']:,}"


def error(row: Mapping[str, Any]) -> str:
    """Return the standard error as text."""
    return "" if row["standard_error"] is None else f"± {row['standard_error']:.3g}"
