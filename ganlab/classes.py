"""Names of classes: what a person writes, as numbers."""

import csv
import difflib
from collections.abc import Iterable, Sequence

from ganlab.types import ImageSpec, UserError

LISTED = 20
"""Largest number of classes that a message lists."""


def numbers_of(labels: Sequence[int | str], image: ImageSpec) -> list[int]:
    """Return the numbers of classes given by name or number; UserError names the unknown ones and the nearest.

    A number may be text, unless some class's name is one: class 2 may be called "7".
    """
    numbers = {name: number for number, name in enumerate(image.class_names)}
    if not any(name.isdecimal() for name in image.class_names):
        numbers |= {str(number): number for number in range(image.classes)}
    found = [label if isinstance(label, int) else numbers.get(label, -1) for label in labels]
    if unknown := [label for label, k in zip(labels, found, strict=True) if not 0 <= k < image.classes]:
        known = (
            f"the classes are {_listed(image)}" if image.class_names else f"write numbers from 0 to {image.classes - 1}"
        )
        wrong = ", ".join(quoted(str(label)) for label in unknown)
        raise UserError(f"labels: {wrong}: no such class{_nearest(map(str, unknown), image)}; {known}")
    return found


def split(text: str) -> list[str]:
    """Split names with commas between them; a name with a comma in it stands in double quotes, as in CSV."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]


def names_in(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes; none if they are just the numbers."""
    numbered = list(class_names) == [str(number) for number in range(len(class_names))]
    return () if numbered else tuple(class_names)


def named(number: int, class_names: Sequence[str]) -> str:
    """Write a class as `split` reads it: its name, or its number without names."""
    return quoted(class_names[number]) if class_names else str(number)


def quoted(name: str) -> str:
    """Write a name as `split` reads it."""
    return '"' + name.replace('"', '""') + '"' if not name or "," in name or '"' in name else name


def _nearest(labels: Iterable[str], image: ImageSpec) -> str:
    names = {name.casefold(): name for name in image.class_names}
    close = [names[near] for label in labels for near in difflib.get_close_matches(label.casefold(), names, n=1)]
    return f"; did you mean {', '.join(map(quoted, close))}?" if close else ""


def _listed(image: ImageSpec) -> str:
    more = image.classes - LISTED
    return ", ".join(map(quoted, image.class_names[:LISTED])) + (f", and {more:,} more" if more > 0 else "")
