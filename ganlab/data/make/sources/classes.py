"""The classes of a source's images: numbers and names, from sub-folders, from a list, or from beside each image."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ganlab.data.make.account import Account, first_of, printable
from ganlab.types import UserError

NONE = "none"
"""Value of `--labels` for no classes."""
NUMBERS = 1000
"""Numbers up to this one are classes even where most of them have no image; beyond, sparse ones are identifiers."""
MANY = 100
"""So many classes are doubted if few images have the same one."""
LONGEST = 100
"""Largest length of a name: a longer text is a description."""
NO_NAME = re.compile(r"[+-]\d+|[+-]?(\d+\.\d*|\.\d+)")
LISTED = 'its dataset.json is {"labels": [["name", class], ...]} or {"labels": null}'


@dataclass(frozen=True)
class Classes:
    """The class of each image, int32 [n] or None, and the names of the classes."""

    labels: NDArray[np.int32] | None = None
    names: tuple[str, ...] = ()


def numbered(place: object, values: Sequence[Any], account: Account, names: Sequence[str] | None = None) -> Classes:
    """Number the classes that are given as whole numbers from 0 or as names, one per image (None: no class, -1).

    Names are numbered in sorted order. Numbers stay as they are, unless they are identifiers, sparse and large: these
    are numbered in their order, and become the names. UserError for other values, and too few or equal `names`.
    """
    values = [value.strip() if type(value) is str else value for value in values]
    if wrong := [value for value in values if value is not None and not is_class(value)]:
        raise UserError(f"{place}: label {wrong[0]!r}; give classes as whole numbers from 0, or as names")
    if twice := [name for name, count in Counter(names or ()).items() if count > 1]:
        raise UserError(f"{place}: several classes are called {twice[0]}; give each a name of its own")
    given: list[Any] = sorted(set(values) - {None}, key=lambda value: (type(value) is str, value))
    kinds = {type(value) for value in given}
    if len(kinds) > 1:
        raise UserError(f"{place}: some classes are numbers, others names ({given[0]}, {given[-1]}); give one kind")
    if not given:
        return Classes()
    _doubt(given, len(values), account)
    if kinds == {int} and given[-1] < max(NUMBERS, 10 * len(given)):
        if names is not None and len(names) <= given[-1]:
            raise UserError(f"{place}: {len(names)} class_names, but a label {given[-1]}; name every class")
        labels = np.array([-1 if value is None else value for value in values], np.int32)
        return Classes(labels, tuple(names) if names is not None else tuple(map(str, range(given[-1] + 1))))
    if kinds == {int}:
        account.notes.append(
            f"labels up to {given[-1]} are identifiers: they were numbered from 0 to {len(given) - 1} in their order, "
            "and are the names of the classes"
        )
    number = {value: k for k, value in enumerate(given)} | {None: -1}
    return Classes(np.array([number[value] for value in values], np.int32), tuple(printable(str(v)) for v in given))


def by_folder(place: object, names: Sequence[str], account: Account, *, wrapped: bool) -> Classes:
    """Take the first sub-folders as classes, in the order of their names; none where no image is in one.

    `wrapped`: all may lie in one folder more, as in an archive of a whole folder. UserError where only some are in one.
    """
    bare = _bare if wrapped else str
    tops = {bare(name).split("/", 1)[0] for name in names} if wrapped else set()
    level = int(len(tops) == 1)
    if level and all(bare(name).count("/") < 2 for name in names):
        account.labels = "none: all lie in one folder, no list of labels (dataset.json)"
        return Classes()
    number: dict[str, int] = {}
    folders, loose = np.empty(len(names), np.int32), ""
    for i, name in enumerate(names):
        *above, _ = bare(name).split("/", level + 1)
        if len(above) > level:
            folders[i] = number.setdefault(above[level], len(number))
        else:
            folders[i], loose = -1, loose or name
    outside = int((folders < 0).sum())
    if number and outside:
        raise UserError(
            f"{place}: {outside} of {len(names)} images ({printable(loose)}, ...) lie outside the sub-folders; "
            "put all in sub-folders, one a class, or none; or leave the classes out with --labels none"
        )
    if not number:
        account.labels = "none: no sub-folder for each class, no list of labels (dataset.json)"
        return Classes()
    given = sorted(number)
    account.labels = f"the names of the sub-folders ({first_of(given)})"
    _doubt(given, len(names), account)
    ranks = np.empty(len(given), np.int32)
    ranks[[number[folder] for folder in given]] = np.arange(len(given))
    return Classes(ranks[folders], tuple(map(printable, given)))


def is_class(value: object) -> TypeGuard[int | str]:
    """Whether a value is the number of a class, or may be its name: a fraction and a number below 0 are neither."""
    if type(value) is str:
        return 0 < len(value) <= LONGEST and not NO_NAME.fullmatch(value)
    return type(value) is int and value >= 0


def _doubt(given: Sequence[Any], images: int, account: Account) -> None:
    """Say where there are hardly more images than classes, whose names are then no classes; and of names alike."""
    folded = [unicodedata.normalize("NFC", name).casefold() for name in given if type(name) is str]
    often = Counter(folded)
    alike = [name for name, fold in zip(given, folded, strict=False) if often[fold] > 1]
    account.note("classes whose names differ in nothing but upper case or the code of an accent", alike)
    if (classes := len(given)) > max(MANY, images // 2):
        account.notes.append(
            f"{classes:,} classes for a total of {images:,}: if they are identifiers, leave them out with --labels none"
        )


def by_list(place: str, where: str, text: bytes, names: Sequence[str], account: Account) -> Classes:
    """Take the classes of a dataset.json's text, which lies in the folder `where` of the source (empty: at its root).

    Its names are relative to that folder, or to the source. UserError where it is malformed or an image is missing.
    """
    by_name = _entries(place, text)
    if by_name is None:
        account.labels = f"none: {place} says so"
        return Classes()
    absent = len(by_name) - len(names)
    by_name |= {f"{where}/{name}": label for name, label in by_name.items() if where}
    if missing := [name for name in names if by_name.get(_bare(name)) is None]:
        more = f" (nor have {len(missing) - 1:,} others)" if len(missing) > 1 else ""
        raise UserError(f"{place}: {printable(missing[0])} has no class in it{more}; label all of the images or none")
    if absent > 0:
        account.notes.append(f"{place} also has labels of {absent:,} that are not there, or are no images")
    account.labels = place
    return numbered(place, [by_name[_bare(name)] for name in names], account)


def _entries(place: str, text: bytes) -> dict[str, Any] | None:
    """Return the class of each name in a dataset.json; None where it says that there are no classes."""
    by_name = dict[str, Any]()
    try:
        listed = json.loads(text)["labels"]
        pairs = list((listed or {}).items() if isinstance(listed, dict | None) else listed)
        for name, label in pairs:
            if not isinstance(name, str):
                raise TypeError
            first = by_name.setdefault(_bare(name), label)
            if first is not label and first != label:  # NaN differs from itself
                raise UserError(f"{place}: {printable(name)} has two classes, {first} and {label}")
    except UserError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = f" ({error})" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{place}: not a readable list of labels{why}; {LISTED}") from error
    return (
        by_name if listed is not None and not (by_name and set(map(type, by_name.values())) == {type(None)}) else None
    )


def _bare(name: str) -> str:
    """Write a path as a folder has it: other programs begin it with ./ or /, or write backslashes."""
    return name.replace("\\", "/").removeprefix("./").lstrip("/")
