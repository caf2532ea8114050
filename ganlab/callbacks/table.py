"""A table of the metrics for spreadsheets: `metrics.csv`."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganlab.callbacks.tracker import Scalars, Tracker
from ganlab.files import atomic_write


class Table(Tracker):
    """A row for each line of metrics and a column for each name; a line with a new name has the table written anew."""

    NAME = "metrics.csv"

    def __init__(self, folder: Path) -> None:
        self.file, self.names = folder / "metrics.csv", list[str]()

    def begin(self, rows: Sequence[Scalars]) -> None:
        """Write the lines that the run goes on from."""
        self.names = list(dict.fromkeys(name for row in rows for name in row))
        self._write(rows)

    def log(self, nimg: int, values: Scalars) -> None:
        """Add a row."""
        row = {"nimg": nimg, **values}
        if new := [name for name in row if name not in self.names]:
            with self.file.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self.names += new
            self._write(rows)
        with self.file.open("a", newline="") as file:
            csv.DictWriter(file, self.names).writerow(row)

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.names)
        if self.names:
            writer.writeheader()
        writer.writerows(rows)
        with atomic_write(self.file) as file:
            file.write(text.getvalue().encode())
