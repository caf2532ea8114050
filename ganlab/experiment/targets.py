"""Which classes a `_target_` may name: the type of its place decides from which modules.

A config that somebody sent can name any class, so a place takes only classes made for it: a network's place takes
networks, an optimizer's optimizers. A place also takes classes of its type from packages that the current command line
trusts. An argument without a type takes only those.
"""

import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from beartype.door import is_subhint
from torch import nn
from torch.optim import Optimizer

from ganlab.experiment.words import did_you_mean, name_of, options_of
from ganlab.types import UserError

NETWORKS, OPTIMIZERS = ("ganlab.networks", "torch.nn"), ("torch.optim", "ganlab.optim")
GAMES = ("ganlab.models", "ganlab.engine")
"""Packages of games; the second holds their base classes."""
HOMES = {"torch.nn": "torch.nn.modules"}
"""Where a package defines the classes that it offers, if that is narrower than the package."""
UNFIT = {
    "LBFGS": "needs a closure that recomputes the loss, which a step does not have",
    "SparseAdam": "takes only sparse gradients, and networks have dense ones",
    "Muon": "updates only matrices, and networks have convolutions and biases",
}
"""Torch's optimizers that cannot update a player, and why."""


def resolve(path: str, hint: Any, trust: Sequence[str] = ()) -> type:
    """Import the class that a `_target_` names in a place of type `hint`.

    It checks the dotted path before importing anything, then the module that defines the class, since an allowed path
    may lead to a foreign class, then the class against the type. Raises `UserError`.
    """
    rooms = sorted({room for option in options_of(hint) for room in rooms_of(option)})
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise UserError(f"{path!r} is not the whole path of a class; {_takes(rooms)}")
    if not inside(module_name, (*rooms, *trust)):
        raise UserError(_not_here(path, rooms))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"cannot import {module_name!r}: {error}") from None
    target = getattr(module, name, None)
    if target is None:
        raise UserError(f"{module_name} has no {name!r}{did_you_mean(name, vars(module))}")
    if not isinstance(target, type):
        raise UserError(f"{path!r} is not a class")
    homes = [HOMES.get(room, room) for room in rooms]
    if not inside(target.__module__, (*homes, *trust)):
        raise UserError(f"{path!r} leads to {target.__module__}, which is not trusted here; {_remedy(rooms)}")
    if not any(_fills(target, option, trust) for option in options_of(hint)):
        raise UserError(f"{path!r} is not {name_of(hint)}")
    if inspect.isabstract(target) or getattr(target, "_is_protocol", False):
        raise UserError(f"{path!r} is abstract; name one of its subclasses")
    if issubclass(target, Optimizer) and target.__name__ in UNFIT:
        raise UserError(f"{target.__name__} {UNFIT[target.__name__]}; write for example torch.optim.Adam")
    return target


def rooms_of(option: Any) -> tuple[str, ...]:
    """Return the packages whose classes a place of this type takes; none for types of other packages.

    A type of ganlab takes classes of the package that defines it: a regularizer comes from `ganlab.regularizers`.
    """
    option = made_by(option) or option
    if option is Optimizer:
        return OPTIMIZERS
    if option is nn.Module:
        return NETWORKS
    package = ".".join(getattr(option, "__module__", "").split(".")[:2])
    if not isinstance(option, type) or not package.startswith("ganlab."):
        return ()
    return GAMES if package in GAMES else (package,)


def made_by(option: Any) -> type | None:
    """Return what a place's function makes: of optimizers, and networks inside another, a config names the class."""
    made = typing.get_args(option)[-1] if typing.get_origin(option) is Callable else None
    return made if made in (Optimizer, nn.Module) else None


def _fills(target: type, option: Any, trust: Sequence[str]) -> bool:
    """Tell whether a class is of a place's type, and from a package that the type takes."""
    homes = [HOMES.get(room, room) for room in rooms_of(option)]
    wanted = made_by(option) or option
    if not inside(target.__module__, (*homes, *trust)):
        return False
    try:
        return wanted in target.__mro__ or bool(is_subhint(target, wanted))
    except TypeError:  # a protocol that is more than methods: a class must name it as its base
        return False


def inside(module: str, prefixes: Iterable[str]) -> bool:
    """Tell whether a module is one of some packages, or inside one."""
    return any(f"{module}.".startswith(f"{prefix.rstrip('.')}.") for prefix in prefixes)


def _not_here(path: str, rooms: Sequence[str]) -> str:
    package = path.partition(".")[0]
    if package in ("ganlab", "torch") and rooms:
        return f"{path!r} is not for this place, which takes classes of {' and '.join(rooms)}"
    return f"{path!r} is not a trusted target; {_remedy(rooms, package)}"


def part_for(hint: Any) -> str:
    """Say how a part for a place is written; nothing for a place without one."""
    rooms = [room for option in options_of(hint) for room in rooms_of(option)]
    return f"; write {{_target_: {rooms[0]}.NAME, ...}}" if rooms else ""


def _takes(rooms: Sequence[str]) -> str:
    return f"this place takes classes of {' and '.join(rooms)}" if rooms else "this place takes none of ganlab's"


def _remedy(rooms: Sequence[str], package: str = "") -> str:
    prefix = package if package.isidentifier() and package not in ("ganlab", "torch") else "PREFIX"
    return f"{_takes(rooms)}; for a package whose code you trust, write --trust {prefix}"
