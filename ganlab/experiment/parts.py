"""Open parts: `{_target_: dotted.path, **arguments}` names a class, whose typed signature is its schema.

`check_arguments` says what is wrong with a part, or with a dataclass of the config's frame, without making it; `build`
makes it.
"""

import difflib
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from typing import Any, Literal

from beartype.door import is_bearable, is_subhint
from torch.optim import Optimizer

from ganlab.types import UserError

SUPPLIED = frozenset({"image", "runtime", "params"})
"""Arguments of parts that the run supplies and no YAML may."""
CATCH_ALL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""What `*args` and `**kwargs` would take cannot be checked, so a config may not give it."""


def resolve(path: str, trust: Sequence[str] = ()) -> type:
    """Import the class that a `_target_` names.

    The dotted path and the class's own module must both lie in the allow-list: the path is checked before anything is
    imported, and the module because an allowed path may lead to a foreign class. Raises `UserError`.
    """
    allowed = ("ganlab", "torch.optim", "torch.nn", *trust)
    remedy = f"allowed are {', '.join(allowed)} and what --trust PREFIX adds"
    module_name, _, name = path.rpartition(".")
    if not _inside(module_name, allowed):
        raise UserError(f"{path!r} is not a trusted target; {remedy}")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"cannot import {module_name!r}: {error}") from None
    target = getattr(module, name, None)
    if target is None:
        raise UserError(f"{module_name} has no {name!r}{_did_you_mean(name, vars(module))}")
    if not isinstance(target, type):
        raise UserError(f"{path!r} is not a class")
    if not _inside(target.__module__, allowed):
        raise UserError(f"{path!r} leads to {target.__module__}, which is not trusted; {remedy}")
    return target


def _inside(module: str, prefixes: Sequence[str]) -> bool:
    return any(f"{module}.".startswith(f"{prefix.rstrip('.')}.") for prefix in prefixes)


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [n for n in names if not n.startswith("_")], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def hints_of(target: type) -> dict[str, Any]:
    """Return the types of a class's arguments; a foreign class whose annotations do not resolve is not type-checked."""
    try:
        return typing.get_type_hints(target if is_dataclass(target) else target.__init__)  # type: ignore[misc]
    except (NameError, TypeError):
        return {}


def check_arguments(
    target: type, given: Mapping[str, Any], where: str, supplied: frozenset[str], trust: Sequence[str]
) -> Iterator[str]:
    """Check arguments by the signature of a frame's dataclass or of a part's class."""
    parameters = {name: p for name, p in inspect.signature(target).parameters.items() if p.kind not in CATCH_ALL}
    hints = hints_of(target)
    for name, value in given.items():
        key = f"{where}{name}"
        if name in supplied and name in parameters:
            yield f"{key}: supplied by the run; remove it"
        elif name not in parameters:
            yield f"{key}: unknown key{_did_you_mean(name, set(parameters) - supplied)}"
        else:
            yield from check_value(value, hints.get(name, Any), key, trust)
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in given and name not in supplied:
            yield f"{where}{name}: missing"


def check_value(value: Any, hint: Any, key: str, trust: Sequence[str]) -> Iterator[str]:
    """Check one value, and what is inside it, against the type that its place asks for."""
    options = options_of(hint)
    frame = next((option for option in options if is_dataclass(option) and isinstance(option, type)), None)
    if isinstance(value, dict) and "_target_" in value:
        yield from _check_part(value, hint, key, trust)
    elif isinstance(value, dict) and frame is not None:
        yield from check_arguments(frame, value, f"{key}.", frozenset(), trust)
    elif isinstance(value, dict):
        inner = next((typing.get_args(option)[1] for option in options if _is_mapping(option)), Any)
        if hint is not Any and not any(_is_mapping(option) for option in options):
            yield f"{key}: a mapping is not {_name(hint)}"
        for name, item in value.items():
            if item is not None:  # null removes a named part
                yield from check_value(item, inner, f"{key}.{name}", trust)
    elif not _fits(coerce(value, hint), hint):
        yield f"{key}: {value!r} is not {_name(hint)}{_written(value, hint)}"


def _check_part(part: dict[str, Any], hint: Any, key: str, trust: Sequence[str]) -> Iterator[str]:
    try:
        target = resolve(str(part["_target_"]), trust)
    except UserError as error:
        yield f"{key}._target_: {error}"
        return
    is_optimizer = issubclass(target, Optimizer)
    if is_optimizer:  # it will await its parameters: see `build`
        fits = any(typing.get_origin(option) is Callable for option in options_of(hint))
    else:
        fits = is_subhint(target, hint)
    if hint is not Any and not fits:
        yield f"{key}._target_: {target.__name__} is not {_name(hint)}"
    elif is_optimizer and "fused" not in inspect.signature(target).parameters:
        yield f"{key}._target_: {target.__name__} has no fused form; write torch.optim.Adam, AdamW or SGD"
    arguments = {name: value for name, value in part.items() if name != "_target_"}
    yield from check_arguments(target, arguments, f"{key}.", SUPPLIED, trust)


def options_of(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _is_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(value, bool) and bool not in options_of(hint) and hint is not Any:
        return False  # a bool is an int to Python, not to a person
    return is_bearable(value, hint)


def _name(hint: Any) -> str:
    names = []
    for option in options_of(hint):
        if option is type(None):
            names.append("null")
        elif typing.get_origin(option) is Literal:
            names.append(f"one of {', '.join(map(str, typing.get_args(option)))}")
        elif isinstance(option, type) and not typing.get_args(option):
            names.append(option.__name__)
        else:
            names.append(re.sub(r"\w+\.(?=\w)", "", str(option)))  # without the modules of its names
    return " or ".join(names)


def _written(value: Any, hint: Any) -> str:
    if isinstance(value, float) and value.is_integer() and int in options_of(hint):
        return f"; write {int(value):_}"
    choices = [
        choice for option in options_of(hint) if typing.get_origin(option) is Literal for choice in option.__args__
    ]
    return _did_you_mean(value, map(str, choices)) if isinstance(value, str) else ""


def coerce(value: Any, hint: Any) -> Any:
    """Make an int a float and a list a tuple where the type asks for it: YAML has one way to write each."""
    options = options_of(hint)
    if isinstance(value, int) and not isinstance(value, bool) and float in options and int not in options:
        return float(value)
    if isinstance(value, list):
        for option in options:
            items = typing.get_args(option)
            if typing.get_origin(option) is tuple:
                items = items[:1] * len(value) if items[-1] is ... else items
                return tuple(coerce(item, inner) for item, inner in zip(value, items, strict=False)) + tuple(
                    value[len(items) :]
                )
    return value


def build(part: Any, *, trust: Sequence[str] = (), **runtime: Any) -> Any:
    """Make the object of a checked part, and of the parts inside it, innermost first.

    `runtime` holds what the run supplies; every part gets those of them that its signature names. An optimizer becomes
    a `functools.partial` that awaits its parameters. In a mapping of named parts, null removes one.
    """
    if not isinstance(part, dict):
        return part
    if "_target_" not in part:
        return {name: build(item, trust=trust, **runtime) for name, item in part.items() if item is not None}
    target = resolve(part["_target_"], trust)
    hints, parameters = hints_of(target), inspect.signature(target).parameters
    arguments = {name: value for name, value in runtime.items() if name in parameters}
    for name, value in part.items():
        if name != "_target_":
            assert name not in arguments, f"{name} is supplied by the run"
            arguments[name] = build(coerce(value, hints.get(name, Any)), trust=trust, **runtime)
    return partial(target, **arguments) if issubclass(target, Optimizer) else target(**arguments)
