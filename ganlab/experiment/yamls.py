"""Configs as text: YAML files with their `base:` chains, read to plain values and written from them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from ganlab.experiment.shipped import located
from ganlab.experiment.words import shown
from ganlab.files import with_home
from ganlab.types import UserError

MAPPING = "a list or a number; a config is a mapping of keys to values"
MISREAD = re.compile(r"[+-]?(0[0-7]+|\d+(:[0-5]?\d)+)")
"""Numbers that YAML reads as octal, or in base 60: 010 as 8, 1:30 as 90."""

UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and bytes of a name that are not UTF-8: no path of a run may hold them, nor can YAML."""


def read_chain(path: Path, seen: tuple[Path, ...]) -> list[tuple[Path, dict[str, Any]]]:
    """Return the files of a `base:` chain with their values, the lowest first."""
    if path.resolve() in seen:
        raise UserError(f"{path}: its `base:` chain comes back to itself")
    values = read_yaml(path)
    base = values.pop("base", None)
    if not isinstance(base, str | None):
        raise UserError(f"{path}: base: {shown(base)} is not a path; name one file, whose own base may name the next")
    below = [] if base is None else read_chain(located(with_home(base), path.parent), (*seen, path.resolve()))
    return [*below, (path, values)]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file to plain values; UserError says what is wrong with it."""
    try:
        tree = OmegaConf.load(path)
        with path.open("rb") as file:
            _refuse_misread(file, path)
    except OSError as error:
        if error.strerror is None:  # of OmegaConf: one number, say
            raise UserError(f"{path}: {MAPPING}") from None
        raise UserError(f"{path}: {error.strerror}; give the path of a YAML file") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        hint = ""
        if isinstance(error, MarkedYAMLError) and "duplicate" not in str(error):
            hint = "; indent with spaces, not tabs; a text that holds braces, a colon or signs stands in quotes"
        raise UserError(f"{path}: not YAML: {error}{hint}") from None
    return plain(tree, str(path))


def _refuse_misread(file: IO[bytes], path: Path) -> None:
    """Refuse numbers that YAML reads as others."""
    for token in yaml.scan(file):
        if isinstance(token, yaml.ScalarToken) and token.plain and MISREAD.fullmatch(token.value):
            raise UserError(
                f"{path}, line {token.start_mark.line + 1}: {token.value}: YAML reads it as "
                f"{yaml.safe_load(token.value)}; write a number without a leading 0 and without colons, or a text in "
                f"quotes: {token.value!r}"
            )


def yaml_of(override: str, text: str) -> Any:
    """Read the text of an override as YAML."""
    if MISREAD.fullmatch(text):
        return text
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]  # type: ignore[call-overload, index]
    except (YAMLError, OmegaConfBaseException, UnicodeEncodeError) as error:
        raise UserError(f"command line: {override}: not YAML: {error}") from None


def plain(tree: Any, place: str) -> dict[str, Any]:
    """Return a tree as plain values whose keys are texts; UserError for interpolation, and for no mapping."""
    values = OmegaConf.to_container(tree, resolve=False) if OmegaConf.is_config(tree) else tree
    if not isinstance(values, dict):
        raise UserError(f"{place}: {MAPPING}")
    # Interpolation could write secrets of the environment into files and logs.
    if found := [f"{key}: {value}" for key, value in leaves(values) if "${" in str(value)]:
        raise UserError(f"{place}: ${{...}} is not supported; write the value itself: {'; '.join(found)}")
    if found := [key for key, value in leaves(values) if isinstance(value, str) and UNWRITABLE.search(value)]:
        raise UserError(f"{place}: {', '.join(found)}: holds a character that cannot be printed; write it without")
    return _with_string_keys(values)


def _with_string_keys(values: dict[Any, Any]) -> dict[str, Any]:
    """Convert keys such as 1, yes or null, which YAML does not read as text."""
    return {str(key): _with_string_keys(value) if isinstance(value, dict) else value for key, value in values.items()}


def leaves(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every leaf; an empty mapping is one."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def written(values: dict[str, Any]) -> str:
    """Return plain values as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(values))
