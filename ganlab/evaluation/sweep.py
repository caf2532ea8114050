"""Values of one run at several truncations: variety is traded for the quality of single images (Brock et al. 2019)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganlab.evaluation.results import HIGHER_IS_BETTER, NEITHER
from ganlab.pictures.panels import Line, Panel

Row = Mapping[str, Any]


def courses(rows: Sequence[Row]) -> list[Line]:
    """Return each metric's values by truncation, from the smallest on."""
    found = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        own = sorted((row for row in rows if row["metric"] == metric), key=truncation_of)
        x, y = np.array([(truncation_of(row), row["value"]) for row in own]).T
        found.append(Line(metric, x, y, error=np.array([row["standard_error"] or 0.0 for row in own])))
    return found


def truncation_of(row: Row) -> float:
    """Return the truncation of a row."""
    return float(row["protocol"]["fakes_truncation"])


def table(rows: Sequence[Row]) -> list[str]:
    """Return one line per truncation with a column per metric, the best value of each with a star; and a full name."""
    columns = courses(rows)
    lines = ["truncation" + "".join(f"{column.label:>13} " for column in columns)]
    for number, truncation in enumerate(columns[0].x):
        cells = [f"{column.y[number]:>13.4g}{'*' if number == best(column) else ' '}" for column in columns]
        lines.append(f"{truncation:>10g}" + "".join(cells))
    return [*(line.rstrip() for line in lines), *(row["name"] for row in rows if truncation_of(row) == columns[0].x[0])]


def best(column: Line) -> int | None:
    """Return the number of a metric's best value; None where none is better."""
    if column.label in NEITHER:
        return None
    return int(column.y.argmax() if column.label in HIGHER_IS_BETTER else column.y.argmin())


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw a chart of every metric against the truncation."""
    from ganlab.pictures.charts import save  # matplotlib, needed only here

    save([Panel(line.label, [line], across="truncation") for line in courses(rows)], path, "png")
