"""Curves over a common axis, one below the other, as a PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ganlab.files import atomic_write


class Curve(NamedTuple):
    """Values with their standard errors."""

    name: str
    x: list[float]
    y: list[float]
    errors: list[float]


def draw_curves(curves: Sequence[Curve], axis: str, path: Path) -> None:
    """Draw each curve in a panel of its own; `axis` names what all are drawn against."""
    from matplotlib.figure import Figure  # slow

    figure = Figure(figsize=(6.0, 0.6 + 1.8 * len(curves)), dpi=150, layout="constrained")
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for curve, axes in zip(curves, panels, strict=True):
        axes.errorbar(curve.x, curve.y, yerr=curve.errors, marker="o", markersize=4, capsize=3)
        axes.set_ylabel(curve.name)
        axes.set_xticks(curve.x, [f"{x:g}" for x in curve.x])
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel(axis)
    figure.align_ylabels()
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
