"""The `key=value` texts of the command line: their places in a config, and what was typed."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any

from ganlab.engine.game import Game
from ganlab.experiment.frame import Config
from ganlab.experiment.parts import hints_of, inner_hint, is_part, merge, with_defaults
from ganlab.experiment.targets import resolve
from ganlab.experiment.words import options_of, takes_text
from ganlab.experiment.yamls import plain, yaml_of
from ganlab.metrics.features import Extractor
from ganlab.types import UserError


def read_overrides(overrides: Sequence[str], below: dict[str, Any], trust: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` texts: as typed where the key takes a text, else as YAML.

    Only all layers together tell which class a key belongs to, so the values are first read as far as they are YAML.
    """
    pairs, guessed, read = [], dict[str, Any](), dict[str, Any]()
    for override in overrides:
        key, _, text = override.partition("=")
        if not key or "=" not in override:
            raise UserError(f"{override!r} is not an override; write key=value, for example train.batch=32")
        pairs.append((key.split("."), text))
        with suppress(UserError):
            put(guessed, key.split("."), yaml_of(override, text))
    whole = merge(below, guessed)
    if is_part(whole.get("model")):
        whole = {**whole, "model": with_defaults(whole["model"], Game, trust)}
    for override, (keys, text) in zip(overrides, pairs, strict=True):
        listed = keys == ["data", "url"] and text.startswith("[")
        is_text = takes_text(hint_at(keys, whole, trust)) and not listed
        put(read, keys, text_of(text) if is_text else yaml_of(override, text))
    return plain(read, "command line")


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
