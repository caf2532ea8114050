"""The verb `plot`: a run's curves as a file for papers."""

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from ganlab.pages.report import names_of
from ganlab.pages.run import Run
from ganlab.pictures.charts import save
from ganlab.pictures.panels import Panel, lines_of, panels
from ganlab.types import UserError

FORMS = {".pdf": "pdf", ".svg": "svg", ".png": "png", ".eps": "eps"}


def plot(runs: Sequence[Path], out: Path, patterns: Sequence[str]) -> Path:
    """Draw metrics of runs over each other, a chart for each pattern, or without any the losses; return the path."""
    form = FORMS.get(out.suffix.lower())
    if form is None:
        raise UserError(f"--out {out}: a plot is one of {', '.join(FORMS)}; give the file one of these endings")
    named = names_of([Run(run) for run in runs])
    columns = {name: run.columns for name, run in named.items()}
    known = list(dict.fromkeys(name for each in columns.values() for name in each if name not in ("nimg", "time")))
    if not known:
        where = ", ".join(map(str, runs))
        raise UserError(f"{where}: no metrics yet: the first line comes after train.tick_nimg images")
    drawn = [] if patterns else panels(columns)[:1]
    for pattern in patterns:
        if not (chosen := fnmatch.filter(known, pattern)):
            raise UserError(f"--metrics {pattern}: there is no such metric; there are {', '.join(known)}")
        drawn.append(Panel(chosen[0] if len(chosen) == 1 else pattern, lines_of(columns, chosen)))
    out.parent.mkdir(parents=True, exist_ok=True)
    save(drawn, out, form)
    return out
