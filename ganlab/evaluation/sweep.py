"""Values of one run at several truncations: variety is traded for the quality of single images (Brock et al. 2019)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganlab.evaluation.results import HIGHER_IS_BETTER, NEITHER
from ganlab.pictures.curves import Curve, draw_curves

Row = Mapping[str, Any]


def curves(rows: Sequence[Row]) -> list[Curve]:
    """Return each metric's values by truncation, from the smallest on."""
    found = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        own = sorted((row for row in rows if row["metric"] == metric), key=truncation_of)
        errors = [row["standard_error"] or 0.0 for row in own]
        found.append(Curve(metric, list(map(truncation_of, own)), [row["value"] for row in own], errors))
    return found


def truncation_of(row: Row) -> float:
    """Return the truncation of a row."""
    return float(row["protocol"]["fakes_truncation"])


def table(rows: Sequence[Row]) -> list[str]:
    """Return one line per truncation with a column per metric, the best value of each with a star; and a full name."""
    columns = curves(rows)
    lines = ["truncation" + "".join(f"{curve.name:>13} " for curve in columns)]
    for number, truncation in enumerate(columns[0].x):
        cells = [f"{curve.y[number]:>13.4g}{'*' if number == best(curve) else ' '}" for curve in columns]
        lines.append(f"{truncation:>10g}" + "".join(cells))
    return [*(line.rstrip() for line in lines), *(row["name"] for row in rows if truncation_of(row) == columns[0].x[0])]


def best(curve: Curve) -> int | None:
    """Return the number of a metric's best value; None where none is better."""
    if curve.name in NEITHER:
        return None
    choose = max if curve.name in HIGHER_IS_BETTER else min
    return curve.y.index(choose(curve.y))


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw every metric against the truncation."""
    draw_curves(curves(rows), "truncation", path)
