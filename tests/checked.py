"""Shapes and types of ganlab's functions are checked while the tests run, at what that needs to cost.

Jaxtyping's import hook decorates every function, those inside others at each call of the outer one: that takes
milliseconds, at every step of every game. Here a function inside another is checked in its first instances, and one
without shapes by beartype alone: jaxtyping would compare no shapes, and take fifty times as long.
"""

import inspect
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any, ForwardRef, get_args

import jaxtyping

INSTANCES = 10
"""Checked instances of a function inside another one, in each process."""


def install() -> None:
    """Check the modules of ganlab that are imported from now on."""
    jaxtyping.jaxtyped = sparing(jaxtyping.jaxtyped)  # which the hook's decorators look up
    jaxtyping.install_import_hook("ganlab", "beartype.beartype").__enter__()


def sparing(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """Return the decorator, made to leave further instances of a function inside another one alone."""
    made: Counter[CodeType] = Counter()

    def decorate(checked: Any, typechecker: Any) -> Any:
        if inspect.isfunction(checked) and "<locals>" in checked.__qualname__:
            made[checked.__code__] += 1
            if made[checked.__code__] > INSTANCES:
                return checked
        if inspect.isfunction(checked) and not any(map(has_shape, checked.__annotations__.values())):
            return typechecker(checked)
        return jaxtyped(checked, typechecker=typechecker)

    return lambda *, typechecker: partial(decorate, typechecker=typechecker)


def has_shape(annotation: Any) -> bool:
    """Tell whether there is a shape in an annotation, or a name in quotes, which beartype alone cannot look up."""
    if isinstance(annotation, str | ForwardRef):
        return True
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(has_shape, get_args(annotation)))
