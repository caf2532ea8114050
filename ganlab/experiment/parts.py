"""Open parts: `{_target_: dotted.path, **arguments}` names a class, whose typed signature is its schema.

`with_defaults` merges a part over the defaults of its class, `check_value` reports what is wrong with it without making
it, `build` makes it. `ganlab.experiment.targets` decides which class may stand where.
"""

import inspect
import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import partial
from importlib import import_module
from typing import Any

from beartype.door import is_bearable
from torch.optim import Optimizer

from ganlab.experiment.targets import inside, made_by, part_for, resolve
from ganlab.experiment.words import FRAMES, NAMES, did_you_mean, instead, is_mapping, name_of, options_of, shown
from ganlab.schedules import Schedule
from ganlab.types import UserError

SUPPLIED = frozenset({"image", "runtime", "total_nimg", "params"})
"""Arguments of parts that the run supplies and no YAML may."""
CATCH_ALL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""Arguments for `*args` and `**kwargs` cannot be checked, so a config may not give them."""


def parameters_of(target: type) -> dict[str, inspect.Parameter]:
    """Return the named arguments of a class."""
    return {name: p for name, p in inspect.signature(target).parameters.items() if p.kind not in CATCH_ALL}


def hints_of(target: type) -> dict[str, Any]:
    """Return the types of a class's arguments, Any for those without.

    An optimizer's numbers may be schedules: the engine evaluates them at every step. A class whose annotations do not
    resolve is not type-checked.
    """
    hints = dict.fromkeys(parameters_of(target), Any)
    with suppress(NameError, TypeError):
        hints |= typing.get_type_hints(target.__init__)  # type: ignore[misc]
    if issubclass(target, Optimizer):
        return {name: _or_schedule(hint) for name, hint in hints.items()}
    return hints


def _or_schedule(hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        return tuple[tuple(map(_or_schedule, typing.get_args(hint)))]  # type: ignore[misc]
    return hint | Schedule if float in options_of(hint) else hint


# --- defaults of classes


def as_part(value: Any) -> Any:
    """Write one of ganlab's frozen dataclasses as a config does, recursively; TypeError for other objects."""
    if is_dataclass(value) and not isinstance(value, type):
        given = {item.name: getattr(value, item.name) for item in fields(value) if item.name not in SUPPLIED}
        return {"_target_": public_path(type(value)), **as_part(given)}
    if isinstance(value, Mapping):
        return {str(name): as_part(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_part(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} is no plain value")


def public_path(target: type) -> str:
    """Return the shortest import path of a class, its public name, which saved runs use."""
    parts = target.__module__.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        if getattr(import_module(package), target.__name__, None) is target:
            return f"{package}.{target.__name__}"
    return f"{target.__module__}.{target.__name__}"


def defaults_of(target: type) -> dict[str, Any]:
    """Return a class's arguments with their defaults, as a config would write them.

    It leaves out torch's classes, whose defaults change with its versions, and arguments whose default is neither a
    plain value nor one of ganlab's parts.
    """
    if inside(target.__module__, ("torch",)):
        return {}
    found = {}
    for name, parameter in parameters_of(target).items():
        if name not in SUPPLIED and parameter.default is not inspect.Parameter.empty:
            with suppress(TypeError):
                found[name] = as_part(parameter.default)
    return found


def with_defaults(value: Any, hint: Any, trust: Sequence[str]) -> Any:
    """Merge a part over the defaults of its class, recursively."""
    if isinstance(value, list):
        inner_hints = item_hints(hint, len(value))
        return [with_defaults(item, inner, trust) for item, inner in zip(value, inner_hints, strict=True)]
    if not isinstance(value, dict):
        return value
    if not is_part(value):
        return {name: with_defaults(item, inner_hint(hint), trust) for name, item in value.items()}
    try:
        target = resolve(str(value["_target_"]), hint, trust)
    except UserError:
        return value  # `check_value` reports it
    hints, laid = hints_of(target), dict(value)
    for name, default in defaults_of(target).items():
        laid[name] = over(default, value[name]) if name in value else default
    for name in replaced_in(target, value):
        if value.get(name) is None:
            laid.pop(name, None)
    return {name: with_defaults(item, hints.get(name, Any), trust) for name, item in laid.items()}


def over(default: Any, given: Any) -> Any:
    """Merge a value over a default. Parts and mappings of named parts are merged; a table of numbers is one value."""
    if given == {}:
        return default
    if isinstance(given, dict) and (is_part(default) or is_map_of_parts(default)):
        return merge(default, given) if keeps_target(default, given) else given
    return given


def merge(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Merge `child` over `parent`; a part whose `_target_` changes is replaced, since its arguments differ."""
    merged = dict(parent)
    for name, value in child.items():
        below = parent.get(name)
        if isinstance(value, dict) and isinstance(below, dict) and keeps_target(below, value):
            merged[name] = merge(below, value)
        else:
            merged[name] = value
    return merged


def keeps_target(parent: Mapping[str, Any], child: Mapping[str, Any]) -> bool:
    """Tell whether the child keeps the parent's class."""
    return bool(child.get("_target_", parent.get("_target_")) == parent.get("_target_"))


def is_part(value: Any) -> typing.TypeGuard[dict[str, Any]]:
    """Tell whether a value names a class."""
    return isinstance(value, dict) and "_target_" in value


def is_map_of_parts(value: Any) -> bool:
    """Tell whether a value is a mapping of named parts."""
    return isinstance(value, dict) and bool(value) and all(map(is_part, value.values()))


def replaced_in(target: type, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the arguments that have no effect beside given ones, each with the one that replaces it."""
    replaces: Mapping[str, Sequence[str]] = getattr(target, "REPLACES", {})
    return {name: by for by, names in replaces.items() if given.get(by) for name in names}


# --- checks


def check_arguments(
    target: type, given: Mapping[str, Any], where: str, supplied: frozenset[str], trust: Sequence[str]
) -> Iterator[str]:
    """Check arguments against the signature of a frame's dataclass or of a part's class."""
    parameters, hints = parameters_of(target), hints_of(target)
    for name, value in given.items():
        key = f"{where}{name}"
        if name in supplied and name in parameters:
            yield f"{key}: supplied by the run; remove it"
        elif name not in parameters:
            yield f"{key}: unknown key{did_you_mean(name, set(parameters) - supplied)}"
        else:
            yield from check_value(value, hints[name], key, trust)
    for name, by in replaced_in(target, given).items():
        if given.get(name) is not None:
            yield f"{where}{name}: has no effect beside {where}{by}; remove one of the two"
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in given and name not in supplied:
            yield f"{where}{name}: missing"


def check_value(value: Any, hint: Any, key: str, trust: Sequence[str]) -> Iterator[str]:
    """Check one value, recursively, against the type of its place."""
    options = options_of(hint)
    frame = next((option for option in options if is_dataclass(option) and option.__module__ in FRAMES), None)
    if isinstance(value, dict) and isinstance(frame, type):
        yield from check_arguments(frame, value, f"{key}.", frozenset(), trust)
    elif is_part(value) and not set(options) <= NAMES.keys():
        yield from _check_part(value, hint, key, trust)
    elif isinstance(value, dict):
        if hint is not Any and not any(map(is_mapping, options)):
            yield f"{key}: a mapping is not {name_of(hint)}{part_for(hint)}"
        for name, item in value.items():
            if item is not None:  # null removes a named part
                yield from check_value(item, inner_hint(hint), f"{key}.{name}", trust)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value) and _takes_items(hint, value):
        for number, (item, inner) in enumerate(zip(value, item_hints(hint, len(value)), strict=True)):
            yield from check_value(item, inner, f"{key}[{number}]", trust)
    elif not _fits(coerce(value, hint), hint):
        yield f"{key}: {shown(value)} is not {name_of(hint)}{instead(value, hint) or part_for(hint)}"
    elif any(isinstance(number, float) and not math.isfinite(number) for number in _flat(value)):
        yield f"{key}: {shown(value)} is no finite number"


def _flat(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _check_part(part: dict[str, Any], hint: Any, key: str, trust: Sequence[str]) -> Iterator[str]:
    try:
        target = resolve(str(part["_target_"]), hint, trust)
    except UserError as error:
        yield f"{key}._target_: {error}"
        return
    arguments = {name: value for name, value in part.items() if name != "_target_"}
    yield from check_arguments(target, arguments, f"{key}.", SUPPLIED, trust)
    for name, value in arguments.items():  # where null stands for a class's own number, 0 would be taken for null
        if value == 0 and {int, type(None)} <= set(options_of(hints_of(target).get(name, Any))):
            yield f"{key}.{name}: 0: write at least 1, or null"


def inner_hint(hint: Any) -> Any:
    """Return the type of a mapping's values; Any if the type is no mapping."""
    return next((typing.get_args(option)[1] for option in options_of(hint) if is_mapping(option)), Any)


def item_hints(hint: Any, length: int) -> list[Any]:
    """Return the types of the items of a list in a tuple's place; Any for items without one."""
    for option in options_of(hint):
        if typing.get_origin(option) is tuple:
            items = typing.get_args(option)
            items = items[:1] * length if items[-1] is ... else items
            return [*items, *[Any] * length][:length]
    return [Any] * length


def _takes_items(hint: Any, value: Sequence[Any]) -> bool:
    """Tell whether a place takes a list of this length; the items are checked one by one."""
    if hint is Any:
        return True
    items = [typing.get_args(option) for option in options_of(hint) if typing.get_origin(option) is tuple]
    return any(each[-1] is ... or len(each) == len(value) for each in items)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(value, bool) and bool not in options_of(hint) and hint is not Any:
        return False  # to Python a bool is an int
    return is_bearable(value, hint)


def coerce(value: Any, hint: Any) -> Any:
    """Convert an int to float and a list to tuple where the type asks for it: YAML does not distinguish them."""
    options = options_of(hint)
    if isinstance(value, int) and not isinstance(value, bool) and float in options and int not in options:
        return float(value)
    if isinstance(value, list) and any(typing.get_origin(option) is tuple for option in options):
        return tuple(map(coerce, value, item_hints(hint, len(value))))
    return value


# --- objects


def build(part: Any, hint: Any, trust: Sequence[str] = (), **supplied: Any) -> Any:
    """Make the object of a checked part, and of the parts inside it, innermost first.

    `supplied` holds what the run supplies; each part gets those that its signature names. In the place of a function
    that makes it (of an optimizer, or of a network inside another), a part becomes a `functools.partial`. In a mapping
    of named parts, null removes one.
    """
    make: Callable[..., Any] = partial(build, trust=trust, **supplied)
    if isinstance(part, list):
        items = [make(item, inner) for item, inner in zip(part, item_hints(hint, len(part)), strict=True)]
        return tuple(items) if any(typing.get_origin(option) is tuple for option in options_of(hint)) else items
    if not isinstance(part, dict):
        return coerce(part, hint)
    if not is_part(part):
        return {name: make(item, inner_hint(hint)) for name, item in part.items() if item is not None}
    target = resolve(part["_target_"], hint, trust)
    hints, parameters = hints_of(target), parameters_of(target)
    arguments = {name: value for name, value in supplied.items() if name in parameters}
    for name, value in part.items():
        if name != "_target_":
            assert name not in arguments, f"{name} is supplied by the run"
            arguments[name] = make(value, hints[name])
    if issubclass(target, Optimizer) or any(map(made_by, options_of(hint))):
        return partial(target, **arguments)
    try:
        return target(**arguments)
    except UserError:
        raise
    except (ArithmeticError, IndexError, RuntimeError, ValueError) as error:  # of torch, mostly: sizes below 1
        given = ", ".join(f"{name}={shown(value)}" for name, value in part.items() if isinstance(value, int | float))
        raise UserError(f"{part['_target_']}: cannot be made with {given}: {error}") from error
