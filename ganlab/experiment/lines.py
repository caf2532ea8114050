"""Reading the records of a run while it writes them, without torch."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**24
"""Bytes that are read at a time, so that the lines of a long run need little memory."""


class Lines:
    """The lines of a JSON Lines file as they come.

    Only whole lines are read, so that a torn last one waits for its end; what is no JSON object is left out. A file
    that was replaced, as a resume does that cuts lines off, is read from its beginning.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.offset, self.inode = file, 0, 0

    def read(self) -> tuple[bool, list[dict[str, Any]]]:
        """Return whether these lines are a new beginning, and those that came since the last call; none at the end."""
        try:
            opened = self.file.open("rb")
        except FileNotFoundError:
            return False, []
        with opened:
            state = os.fstat(opened.fileno())
            anew = state.st_ino != self.inode or state.st_size < self.offset
            self.inode, self.offset = state.st_ino, 0 if anew else self.offset
            opened.seek(self.offset)
            text, end, _ = opened.read(BLOCK).rpartition(b"\n")
        self.offset += len(text) + len(end)
        return anew, objects(text.decode(errors="replace").split("\n"))


def objects(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Return the JSON objects among some lines; one by one only if something else is among them."""
    try:
        rows = json.loads(f"[{','.join(filter(None, lines))}]")
    except ValueError:
        rows = [parsed(line) for line in lines]
    return [row for row in rows if isinstance(row, dict)]


def parsed(line: str) -> Any:
    """Return the value that a line holds; None if it is torn."""
    try:
        return json.loads(line)
    except ValueError:
        return None


class Columns(Mapping[str, NDArray[np.float64]]):
    """The numbers of lines by name, one per line; NaN where a line has none. The time is in seconds since 1970."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.count = 0
        self.found: dict[str, list[tuple[int, NDArray[np.float64]]]] = {}
        """By name: the number of a line, and the values from there on."""
        self.add(rows)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add lines at the end: those of the same names, as most are, column by column."""
        for names, group in groupby(rows, key=tuple):
            columns = list(zip(*(row.values() for row in group), strict=True))
            count = len(columns[0]) if columns else 0
            for name, values in zip(names, columns, strict=True):
                if (numbers := numbers_of(name, values)) is not None:
                    self.found.setdefault(name, []).append((self.count, numbers))
            self.count += count

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        column = np.full(self.count, np.nan)
        for start, values in self.found[name]:
            column[start : start + len(values)] = values
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def curve(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return images shown and the values of a name, of the lines that have it: NaN was no number."""
        pieces = self.found[name]
        lines = np.concatenate([start + np.arange(len(values)) for start, values in pieces])
        return self["nimg"][lines], np.concatenate([values for _, values in pieces])


def numbers_of(name: str, values: Sequence[Any]) -> NDArray[np.float64] | None:
    """Return the numbers of a column, NaN for what is none; None if it has only other things."""
    if name == "time":
        values = [seconds_of(value) for value in values]
    try:
        return np.array(values, np.float64)  # None is NaN
    except (TypeError, ValueError):
        plain = [value if isinstance(value, int | float) else math.nan for value in values]
        return None if all(map(math.isnan, plain)) else np.array(plain, np.float64)


def seconds_of(time: Any) -> float | None:
    """Return a time as seconds since 1970; None if it is none."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (TypeError, ValueError):
        return None
