"""How a message names a value, the type of its place, and what to write instead."""

import difflib
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, Literal

FRAMES = ("ganlab.experiment.frame", "ganlab.types")
"""Modules of the dataclasses that a config writes as plain mappings, without a `_target_`."""
NAMES: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
SWITCHES = {
    False: ("disabled", "off", "none", "no", "false", "never"),
    True: ("online", "on", "auto", "yes", "true", "enabled"),
}
"""What people write to turn something off or on; YAML reads the bare words off, no, on and yes as booleans."""
EXPONENTS = {"": 0, "k": 3, "m": 6, "g": 9, "b": 9, "t": 12}


def options_of(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def takes_text(hint: Any) -> bool:
    """Tell whether a place takes texts and nothing else, except for null."""
    options = [option for option in options_of(hint) if option is not type(None)]
    taken = [choice for option in options for choice in _choices(option) or (option,)]
    return bool(taken) and all(choice is str or isinstance(choice, str) for choice in taken)


def is_mapping(hint: Any) -> bool:
    """Tell whether a type is a mapping of names."""
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def name_of(hint: Any) -> str:
    """Return a type as a person would say it."""
    return " or ".join(_names(hint))


def _names(hint: Any) -> Iterator[str]:
    for option in options_of(hint):
        arguments = typing.get_args(option)
        if option in NAMES:
            yield NAMES[option]
        elif typing.get_origin(option) is Literal:
            yield f"one of {', '.join(map(str, arguments))}"
        elif typing.get_origin(option) is tuple:
            yield _list_of(arguments)
        elif is_mapping(option) or (is_dataclass(option) and option.__module__ in FRAMES):
            yield "a mapping of keys"
        elif typing.get_origin(option) is Callable:
            yield "a function"
        elif isinstance(option, type) and not arguments:
            yield option.__name__
        else:
            yield re.sub(r"\w+\.(?=\w)", "", str(option))  # without the modules of its names


def _list_of(items: tuple[Any, ...]) -> str:
    count = "" if items[-1] is ... else f"{len(items)} "
    named = NAMES.get(items[0], "values").removeprefix("a ")
    return f"a list of {count}{named if named.endswith('s') or ' or ' in named else f'{named}s'}"


def shown(value: Any) -> str:
    """Return a value as YAML would show it: null, true, 'a text', [0, 0.5]."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def instead(value: Any, hint: Any) -> str:
    """Return what to write instead of a value that its place does not take, or an empty text."""
    options = options_of(hint)
    choices = [str(choice) for option in options for choice in _choices(option)]
    if choices:
        return _choice(value, choices, type(None) in options)
    if value is None:
        return "; give a value, or remove the key"
    if str in options:
        quoted = "" if isinstance(value, bool) else f": {str(value)!r}"  # of true nobody knows what was written
        return "" if isinstance(value, list | dict) else f"; write it in quotes{quoted}"
    if not isinstance(value, list | dict) and any(typing.get_args(option)[-1:] == (...,) for option in options):
        return f"; write [{', '.join(str(value).replace(',', ' ').split())}]"
    if isinstance(value, str) and value.lower() in ("none", "nil", "") and type(None) in options:
        return "; write null"
    if bool in options and value in (0, 1):
        return f"; write {'true' if value else 'false'}"
    if (number := _number(value)) is not None and math.isfinite(number) and (int in options or float in options):
        return f"; write {int(number):_}" if number == int(number) else f"; write {number}" * (float in options)
    return ""


def _choices(option: Any) -> tuple[Any, ...]:
    return typing.get_args(option) if typing.get_origin(option) is Literal else ()


def _choice(value: Any, choices: list[str], nullable: bool) -> str:
    for on, words in SWITCHES.items():
        if value is on or str(value).lower() in words:
            meant = next((word for word in words if word in choices), None)
            why = f" (YAML reads {'on and yes as true' if on else 'off and no as false'})" if value is on else ""
            return f"; write {meant}{why}" if meant else "; write null" if nullable and not on else ""
    return did_you_mean(str(value), choices)


def _number(value: Any) -> float | None:
    """Read a number with thousands' commas or a suffix, such as 1,000 or 5M."""
    if isinstance(value, float):
        return value
    match = re.fullmatch(r"(\d[\d_,]*(?:\.\d+)?)\s*([kmgtb]?)b?", value.lower()) if isinstance(value, str) else None
    return None if match is None else float(re.sub("[_,]", "", match[1])) * 10 ** EXPONENTS[match[2]]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a suggestion of the nearest of some names, or an empty text."""
    close = difflib.get_close_matches(name, [n for n in names if not n.startswith("_")], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
