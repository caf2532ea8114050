"""One `key=value` of the command line: its place in a config, and the text that was typed."""

from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

from ganlab.engine.game import Game
from ganlab.experiment.frame import Config
from ganlab.experiment.parts import hints_of, inner_hint, is_part
from ganlab.experiment.targets import resolve
from ganlab.experiment.words import options_of
from ganlab.metrics.features import Extractor
from ganlab.types import UserError


def text_of(text: str) -> str | None:
    """Read a text, which may stand in quotes; null, or nothing, is no text."""
    if text in ("", "null"):
        return None
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def put(values: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set a nested key; a mapping is added to the one that is there."""
    name, *deeper = keys
    there = values.get(name)
    if deeper:
        values[name] = there if isinstance(there, dict) else {}
        put(values[name], deeper, value)
    elif isinstance(value, dict) and isinstance(there, dict):
        for inner, item in value.items():
            put(there, [inner], item)
    else:
        values[name] = value


def hint_at(keys: Sequence[str], values: dict[str, Any], trust: Sequence[str]) -> Any:
    """Return the type of a key's place in a config; Any if that is unknown."""
    hint: Any = Config
    node: Any = values
    for depth, name in enumerate(keys, start=1):
        frame = next((option for option in options_of(hint) if is_dataclass(option)), None)
        if name == "_target_":
            return str
        if is_part(node):
            try:
                hint = hints_of(resolve(str(node["_target_"]), hint, trust)).get(name, Any)
            except UserError:
                return Any
        elif isinstance(frame, type):
            hint = hints_of(frame).get(name, Any)
        else:
            hint = inner_hint(hint)
        hint = {("model",): Game, ("evaluation", "extractor"): Extractor | None}.get(tuple(keys[:depth]), hint)
        node = node.get(name) if isinstance(node, dict) else None
    return hint
