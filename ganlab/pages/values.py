"""The values of evaluations on a page: the last and the best of each protocol, and their course as charts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ganlab.evaluation.results import best, error
from ganlab.pages.run import Run
from ganlab.pages.story import text_of
from ganlab.pictures.panels import Line, Panel


def rows_of(run: Run) -> list[dict[str, str]]:
    """Return the rows of a table: the last value of each name, with its error, floor, best and protocol."""
    results = run.results
    last = {str(row["name"]): row for row in results}
    return [
        {
            "name": name,
            "value": f"{row['value']:.4g} {error(row)}".strip(),
            "floor": "" if row.get("floor") is None else f"{row['floor']:.4g}",
            "nimg": "" if row.get("nimg") is None else f"{row['nimg']:,}",
            "best": best(results, row).removeprefix("best "),
            "protocol": text_of(row["protocol"]),
        }
        for name, row in last.items()
    ]


def panels(runs: Mapping[str, Run]) -> list[Panel]:
    """Return a chart of each value that was measured more than once, with its errors and floors."""
    courses: dict[str, list[Line]] = {}
    for colour, (run, read) in enumerate(runs.items()):
        found: dict[str, list[dict[str, Any]]] = {}
        for row in read.results:
            if row.get("nimg") is not None:
                found.setdefault(str(row["name"]), []).append(row)
        for name, rows in found.items():
            courses.setdefault(name, []).append(line_of(run, colour, rows))
    return [Panel(name, lines) for name, lines in courses.items() if max(len(line.x) for line in lines) > 1]


def line_of(label: str, colour: int, rows: Sequence[Mapping[str, Any]]) -> Line:
    """Return the course of a value."""
    x, y, errors = (
        np.array([np.nan if row.get(name) is None else row[name] for row in rows], np.float64)
        for name in ("nimg", "value", "standard_error")
    )
    return Line(label, x, y, colour, error=None if np.isnan(errors).all() else errors, floor=rows[-1].get("floor"))
