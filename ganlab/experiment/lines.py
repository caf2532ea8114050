"""Reading the records of a run while it writes them, without torch."""

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Lines:
    """The lines of a JSON Lines file as they come.

    Only whole lines are read, so that a torn last one waits for its end; what is no JSON object is left out. A file
    that was replaced, as a resume does that cuts lines off, is read from its beginning.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.offset, self.inode = file, 0, 0

    def read(self) -> tuple[bool, list[dict[str, Any]]]:
        """Return whether the lines are a new beginning, and those that came since the last call."""
        try:
            opened = self.file.open("rb")
        except FileNotFoundError:
            return False, []
        with opened:
            state = os.fstat(opened.fileno())
            anew = state.st_ino != self.inode or state.st_size < self.offset
            self.inode, self.offset = state.st_ino, 0 if anew else self.offset
            opened.seek(self.offset)
            text, end, _ = opened.read().rpartition(b"\n")
        self.offset += len(text) + len(end)
        return anew, list(objects(text.split(b"\n")))


def objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Return the JSON objects among some lines."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


class Columns(Mapping[str, NDArray[np.float64]]):
    """The numbers of lines by name, one per line; NaN where a line has none. The time is in seconds since 1970."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.count = 0
        self.found: dict[str, tuple[array[int], array[float]]] = {}
        self.add(rows)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add lines at the end."""
        for row in rows:
            for name, value in row.items():
                number = seconds_of(value) if name == "time" else value
                if isinstance(number, int | float):
                    if name not in self.found:
                        self.found[name] = array("q"), array("d")
                    lines, numbers = self.found[name]
                    lines.append(self.count)
                    numbers.append(number)
                elif number is None and name not in self.found:
                    self.found[name] = array("q"), array("d")
            self.count += 1

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        lines, numbers = self.found[name]
        column = np.full(self.count, np.nan)
        column[np.array(lines, np.int64)] = np.array(numbers)
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def curve(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return images shown and the values of a name, of the lines from its first number to its last."""
        lines = self.found[name][0]
        if not lines:
            return self["nimg"], self[name]
        some = slice(lines[0], lines[-1] + 1)
        return self["nimg"][some], self[name][some]


def seconds_of(time: Any) -> float | None:
    """Return a time as seconds since 1970; None if it is none."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (TypeError, ValueError):
        return None
