"""The account of a source: what was left out of it and why, and where its classes come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FIRST = 3
"""Number of names that stand for all that were left out for one reason."""
NAMED_AT_MOST = 20
"""Largest number of images that one error names."""


@dataclass
class Left:
    """What was left out for one reason."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    """The first names, at most as many as were asked for."""


@dataclass
class Account:
    """What a source says of itself besides its images."""

    labels: str = "none"
    """Where the classes come from, or why there are none."""
    left_out: dict[str, Left] = field(default_factory=dict)
    """By reason."""
    notes: list[str] = field(default_factory=list)
    """What was read otherwise than one may expect."""

    def leave(self, why: str, name: str, first: int = FIRST) -> None:
        """Count one that is left out; the first few are named."""
        left = self.left_out.setdefault(why, Left())
        left.count += 1
        if len(left.first) < first:
            left.first.append(printable(name))

    def note(self, what: str, names: list[str]) -> None:
        """Say of some names, if there are any, what was done with them."""
        if names:
            self.notes.append(f"{what}: {first_of(names)}")

    def note_more(self, names: list[str]) -> None:
        """Say of which files only the first frame is taken."""
        self.note("several frames or pages, of which the first is taken", names)

    def add(self, other: "Account") -> None:
        """Add what another part of the same source has left out."""
        for why, left in other.left_out.items():
            mine = self.left_out.setdefault(why, Left())
            mine.count += left.count
            mine.first += left.first[: max(0, FIRST - len(mine.first))]
        self.notes += other.notes


def lines_of(account: Mapping[str, Any]) -> list[str]:
    """Return an account, as the index keeps it, as lines of text."""
    lines = [f"labels: {account['labels']}"] if account else []
    for why, left in account.get("left_out", {}).items():
        more = ", ..." if left["count"] > len(left["first"]) else ""
        lines.append(f"left out: {left['count']:,} ({why}): {', '.join(left['first'])}{more}")
    return lines + [f"note: {note}" for note in account.get("notes", [])]


def first_of(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    more = f", and {len(names) - FIRST:,} more" if len(names) > FIRST else ""
    return ", ".join(map(printable, names[:FIRST])) + more


def printable(name: str) -> str:
    """Return a file's name as one line that every terminal takes; names need not be UTF-8, and may hold newlines."""
    if name.isprintable():
        return name
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def listed(lines: Sequence[object]) -> str:
    """Return the first lines for the end of a message, one below the other, and the number of the others."""
    more = f"\n  and {len(lines) - NAMED_AT_MOST:,} more" if len(lines) > NAMED_AT_MOST else ""
    return "".join(f"\n  {line}" for line in lines[:NAMED_AT_MOST]) + more
