"""The verb `report`: one file about runs, which opens offline."""

from collections.abc import Sequence
from pathlib import Path

from ganlab.files import atomic_write
from ganlab.pages.report import report as page_of
from ganlab.pages.run import Run
from ganlab.types import UserError


def report(runs: Sequence[Path], out: Path | None) -> Path:
    """Write the report of runs, into the folder of a single one unless `out` says where; return its path."""
    opened = [Run(run) for run in runs]
    if len({run.path.resolve() for run in opened}) < len(opened):
        raise UserError(f"{', '.join(map(str, runs))}: names a run twice")
    if out is None:
        out = opened[0].path / "report.html" if len(opened) == 1 else Path("report.html")
    if out.suffix != ".html":
        raise UserError(f"--out {out}: a report is a file of HTML; give it a name that ends in .html")
    page = page_of(opened)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as file:
        file.write(page.encode())
    return out
