"""From text to a checked config: base chains, overlays, overrides.

The frame is checked as parts are, by the code of `ganlab.experiment.parts`; every complaint is collected, and all are
raised at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ganlab.experiment.frame import MACHINE_FILE_KEYS, Config
from ganlab.experiment.parts import check_arguments, coerce, hints_of, options_of
from ganlab.types import UserError

# --- text to dicts: base < config < machine file < command line


def load(
    path: Path | str, overrides: Sequence[str] = (), machine: Path | str | None = None, trust: Sequence[str] = ()
) -> Config:
    """Read a config with its `base:` chain, a machine file and `key=value` overrides, and check all of it.

    To `trust` is added what the run, if it has begun, was told to trust before. Raises `UserError` with every
    complaint at once: key, value, and the nearest right name.
    """
    path = Path(path)
    values = _read_chain(path, ())
    if machine is not None:
        overlay = _read_yaml(Path(machine))
        if science := sorted(set(overlay) - MACHINE_FILE_KEYS):
            raise UserError(f"{machine}: {', '.join(science)}: not for a machine file, which holds machine and logging")
        values = merge(values, overlay)
    values = merge(values, _read_overrides(overrides))
    if "trust" in values:
        raise UserError(f"{path}: trust may not stand in a config; write `--trust PREFIX` on the command line")
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("url"), list):
        values["data"] = data = {**data, "url": ",".join(map(str, data["url"]))}
    if values.get("run") is None:
        url = data.get("url") if isinstance(data, dict) else None
        values["run"] = f"runs/{_dataset_name(str(url))}-{path.stem}"
    written = Path(str(values["run"])) / "config.yaml"
    remembered = _read_yaml(written).get("trust", []) if written.is_file() else []
    return from_dict({**values, "trust": sorted({*trust, *remembered})}, str(path))


def _dataset_name(url: str) -> str:
    """Name a dataset by its folder, without what may be secret."""
    path = Path(urlsplit(url).path)
    return (path.parent if path.suffix == ".tar" else path).name


def from_dict(values: dict[str, Any], place: str) -> Config:
    """Check plain values, all of them, and make the frame; `place` begins the error message."""
    trust = tuple(values.get("trust", ()))
    complaints = [*check_arguments(Config, values, "", frozenset(), trust)]
    if "model" in values and not (isinstance(values["model"], dict) and "_target_" in values["model"]):
        complaints.append("model: names no class; write for example `model: {_target_: ganlab.models.DCGAN}`")
    complaints += [
        f"{frame}.{name}: {value} is not positive"
        for frame in ("train", "machine", "evaluation")
        if isinstance(counts := values.get(frame), dict)
        for name, value in counts.items()
        if isinstance(value, int) and not isinstance(value, bool) and value < 1
    ]
    if complaints:
        lines = "".join(f"\n  {line}" for line in complaints)
        raise UserError(f"{place}: {len(complaints)} complaint{'s' * (len(complaints) > 1)}{lines}")
    config = _make(Config, values)
    assert isinstance(config, Config)
    return config


def to_yaml(config: Config) -> str:
    """Write the resolved config as YAML; `from_yaml` reads it back."""
    return OmegaConf.to_yaml(OmegaConf.create(config.as_dict()))


def from_yaml(path: Path, trust: Sequence[str] = ()) -> Config:
    """Read a resolved config. What it says of trust is not believed: the caller says it anew."""
    return from_dict({**_read_yaml(path), "trust": list(trust)}, str(path))


def merge(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Lay `child` over `parent`; a part whose `_target_` changes is replaced whole: its arguments are others."""
    merged = dict(parent)
    for name, value in child.items():
        below = parent.get(name)
        if (
            isinstance(value, dict)
            and isinstance(below, dict)
            and value.get("_target_", below.get("_target_")) == below.get("_target_")
        ):
            merged[name] = merge(below, value)
        else:
            merged[name] = value
    return merged


def differences(saved: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {key: (saved value, value now)} for every leaf that differs; None stands for an absent one."""
    old, new = dict(_leaves(saved)), dict(_leaves(now))
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


def _leaves(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = OmegaConf.load(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give the path of a YAML file") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    return _plain(tree, str(path))


def _read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    for text in overrides:
        if "=" not in text:
            raise UserError(f"{text!r} is not an override; write key=value, for example train.batch=32")
    try:
        return _plain(OmegaConf.from_dotlist(list(overrides)), "command line")
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"command line: {error}") from None


def _plain(tree: Any, place: str) -> dict[str, Any]:
    values = OmegaConf.to_container(tree, resolve=False)
    if not isinstance(values, dict):
        raise UserError(f"{place}: a list; a config is a mapping of keys to values")
    # Interpolation would bring the environment, and the secrets in it, into what is saved and logged.
    if found := [f"{key}: {value}" for key, value in _leaves(values) if "${" in str(value)]:
        raise UserError(f"{place}: ${{...}} is not supported; write the value itself: {'; '.join(found)}")
    return _with_string_keys(values)


def _with_string_keys(values: dict[Any, Any]) -> dict[str, Any]:
    """Undo what YAML makes of keys such as 1, yes or null."""
    return {str(key): _with_string_keys(value) if isinstance(value, dict) else value for key, value in values.items()}


def _read_chain(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UserError(f"{path}: its `base:` chain comes back to itself")
    values = _read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    return merge(_read_chain(path.parent / str(base), (*seen, path.resolve())), values)


def _make(frame: type, values: Mapping[str, Any]) -> Any:
    """Make a frame's dataclass from values that have been checked."""
    hints, arguments = hints_of(frame), {}
    for item in fields(frame):
        if item.name not in values:
            continue
        value = values[item.name]
        inner = next((option for option in options_of(hints[item.name]) if is_dataclass(option)), None)
        if isinstance(value, dict) and isinstance(inner, type):
            value = _make(inner, value)
        arguments[item.name] = coerce(value, hints[item.name])
    return frame(**arguments)
