"""Which of a run's numbers share a chart, and what its title is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

NORMS, RATES, CALLED_REAL = "Norms of the gradients", "Learning rates", "Share that the discriminator calls real"
TOGETHER = (
    ("/loss", "Losses"),
    ("_logit", "What the discriminator says: mean logits"),
    ("_logit_spread", "Standard deviation of the logits"),
    ("_called_real", CALLED_REAL),
    ("/gradient_norm", NORMS),
)
"""Ends of names that share a chart, in the order of the charts."""
ALONE = (
    ("images_per_second", "Images per second"),
    ("share", "Share of the machine's limit"),
    ("memory_bytes", "Peak memory, bytes"),
)
SECONDS = "seconds/"
IMAGES = "images shown"


@runtime_checkable
class Curves(Protocol):
    """The numbers of a run by name."""

    def __iter__(self) -> Any: ...

    def __getitem__(self, name: str) -> Numbers:
        """Return the values of all lines, NaN where a line has none."""

    def curve(self, name: str) -> tuple[Numbers, Numbers]:
        """Return images shown, and values, of the lines that have them."""


@dataclass(frozen=True)
class Line:
    """A curve: its colour says of which run it is, its dashes which quantity."""

    label: str
    x: Numbers
    """Images shown."""
    y: Numbers
    """NaN where a value was not finite."""
    colour: int = 0
    dash: int = 0
    error: Numbers | None = None
    """Standard errors; NaN where there is none."""
    floor: float | None = None
    """The value between two halves of the reals."""


@dataclass(frozen=True)
class Mark:
    """Something that happened at a moment."""

    x: float
    label: str
    bad: bool = False
    colour: int | None = None
    """That of the run among several; None for a single one."""


@dataclass(frozen=True)
class Panel:
    """A chart."""

    title: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    stacked: bool = False
    log: bool = False
    across: str = IMAGES
    """What x is."""
    share: bool = False
    """The values are shares of 1."""


def panels(runs: Mapping[str, Curves], marks: Sequence[Mark] = ()) -> list[Panel]:
    """Return the charts of the metrics of runs, over each other, with what happened on the first one."""
    names = list(dict.fromkeys(name for columns in runs.values() for name in columns))
    found = [
        Panel(title, lines_of(runs, chosen), log=title == NORMS, share=title == CALLED_REAL)
        for title, chosen in grouped(names)
        if chosen
    ]
    if found and marks:
        found[0] = replace(found[0], marks=marks)
    spent = [times(name, columns, len(runs)) for name, columns in runs.items() if seconds_of(columns)]
    return found + [panel for panel in spent if len(panel.lines[0].x) > 1]  # an area has two ends


def grouped(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the titles of charts and the names that share each: terms of a loss by their own name, without player."""
    terms = dict[str, list[str]]()
    for name in filter(is_term, names):
        terms.setdefault(name.partition("/")[2], []).append(name)
    return [
        *((title, [name for name in names if name.endswith(end)]) for end, title in TOGETHER),
        *((chosen[0] if len(chosen) == 1 else term, chosen) for term, chosen in terms.items()),
        *((title, [name for name in names if name == alone]) for alone, title in ALONE),
        (RATES, [name for name in names if name.endswith("/lr")]),
    ]


def is_term(name: str) -> bool:
    """Tell whether a name is a term of a player's loss that shares no chart with others."""
    shared = name.startswith(SECONDS) or name.endswith(("/lr", *(end for end, _ in TOGETHER)))
    return "/" in name and not shared


def lines_of(runs: Mapping[str, Curves], names: Sequence[str]) -> list[Line]:
    """Return the curves of some names of all runs."""
    return [
        Line(
            name if len(runs) == 1 else run if len(names) == 1 else f"{run}: {name}",
            *columns.curve(name),
            colour=colour if len(runs) > 1 else dash,
            dash=dash,
        )
        for colour, (run, columns) in enumerate(runs.items())
        for dash, name in enumerate(names)
        if name in columns
    ]


def seconds_of(columns: Curves) -> list[str]:
    """Return the names of the parts of a tick's time."""
    return [name for name in columns if name.startswith(SECONDS)]


def times(run: str, columns: Curves, runs: int) -> Panel:
    """Return where the time of a run's ticks went, as shares."""
    names = seconds_of(columns)
    spent = np.nan_to_num(np.stack([columns[name] for name in names]))
    some = spent.any(0)  # evaluations have lines of their own
    x, shares = columns["nimg"][some], spent[:, some] / spent[:, some].sum(0)
    title = "Where the time goes" if runs == 1 else f"Where the time of {run} goes"
    parts = enumerate(zip(names, shares, strict=True))
    lines = [Line(name.removeprefix(SECONDS), x, share, colour) for colour, (name, share) in parts]
    return Panel(title, lines, stacked=True)
