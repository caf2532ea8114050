"""From text to a checked config: base chains, overlays, overrides, the defaults of the model's classes.

The frame is checked like parts, by the code of `ganlab.experiment.parts`; all errors are collected and raised at once.
The configs that runs have saved are read here too: `from_saved`, `saved_values`.
"""

import functools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ganlab.experiment.frame import MACHINE_FILE_KEYS, MOST, RANGES, Config
from ganlab.experiment.parts import check_arguments, check_value, coerce, hints_of, is_part, merge, with_defaults
from ganlab.experiment.shipped import located
from ganlab.experiment.words import options_of
from ganlab.experiment.yamls import leaves, read_chain, read_yaml, written
from ganlab.files import with_home
from ganlab.types import UserError

log = logging.getLogger(__name__)

# --- text to dicts: base < config < machine file < command line


def load(
    path: Path | str, overrides: Sequence[str] = (), machine: Path | str | None = None, trust: Sequence[str] = ()
) -> Config:
    """Read a config with its `base:` chain, a machine file and `key=value` overrides, and check all of it.

    Each of the files may be a shipped one, `ganlab:NAME`. Only packages in `trust` are trusted. Raises `UserError` with
    all errors at once: key, value, and the nearest valid name.
    """
    from ganlab.experiment.former import with_new_names  # imports the models, which most readers do not need
    from ganlab.experiment.overrides import read_overrides

    path = Path(path)
    chain = read_chain(located(str(path)), ())
    layers = [_without_empty(_without_trust(values, at, trust)) for at, values in chain]
    layers[-1] |= _own_run(path, chain[-1][1], overrides)
    if machine is not None:
        overlay = _without_empty(read_yaml(located(str(machine))))
        if science := sorted(set(overlay) - MACHINE_FILE_KEYS):
            raise UserError(f"{machine}: {', '.join(science)}: not for a machine file, which holds machine and logging")
        layers.append(overlay)
    layers.append(read_overrides(overrides, functools.reduce(merge, layers), trust))
    if "trust" in layers[-1]:
        raise UserError(f"{path}: trust may not stand in a config; write `--trust PREFIX` on the command line")
    model = functools.reduce(merge, layers).get("model")
    values = _at_home(functools.reduce(merge, with_new_names(layers, model, trust, str(path))))
    data = values.get("data")
    if isinstance(data, dict):
        values["data"] = data = _with_url(data)
        if isinstance(data.get("other"), dict):
            same = {} if data["other"].get("url") else {"url": data.get("url"), "image": data.get("image")}
            data["other"] = _with_url({**data["other"], **same})
    if values.get("run") is None:
        url = data.get("url") if isinstance(data, dict) else None
        values["run"] = f"runs/{_dataset_name(str(url))}-{path.stem}"
    return from_dict({**values, "trust": list(trust)}, str(path))


def _with_url(stream: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a stream's keys with a list of shards as one URL."""
    url = stream.get("url")
    return {**stream, "url": ",".join(map(str, url))} if isinstance(url, list) else dict(stream)


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out sections without a key, which YAML reads as null: they change nothing."""
    return _without_null(
        Config, {name: value for name, value in values.items() if name != "model" or value is not None}
    )


def _without_null(frame: type, values: dict[str, Any]) -> dict[str, Any]:
    """Leave out null in the place of a mapping of keys, recursively: its keys have their defaults."""
    hints, found = hints_of(frame), dict(values)
    for name, value in values.items():
        inner = hints.get(name)
        if isinstance(inner, type) and is_dataclass(inner):
            if value is None:
                del found[name]
            elif isinstance(value, dict):
                found[name] = _without_null(inner, value)
    return found


def _at_home(value: Any) -> Any:
    """Replace ~ at the start of every path by the home folder."""
    if isinstance(value, dict):
        return {name: _at_home(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_at_home(item) for item in value]
    return with_home(value) if isinstance(value, str) else value


def _without_trust(values: dict[str, Any], path: Path, trust: Sequence[str]) -> dict[str, Any]:
    """Read a run's own config like any other one, but ignore its `trust`, with a warning."""
    from ganlab.experiment.former import upgrade

    if "trust" not in values:
        return values
    said = values["trust"] if isinstance(values["trust"], list) else [values["trust"]]
    if said := [str(prefix) for prefix in said if prefix not in trust]:
        log.warning("%s: trust: %s: not believed; write --trust %s", path, said, " --trust ".join(said))
    return upgrade({name: value for name, value in values.items() if name != "trust"}, trust, str(path))


def _own_run(path: Path, values: dict[str, Any], overrides: Sequence[str]) -> dict[str, str]:
    """Return the run of a config that lies in a run's folder: that folder, wherever it was copied or moved to."""
    here, said = path.resolve().parent, str(values.get("run"))
    if "trust" not in values or path.name != "config.yaml" or not (here / "checkpoints").is_dir():
        return {}
    if Path(with_home(said)).resolve() == here:
        return {}
    run = str(path.parent if path.parent.name else here)
    if not any(override.startswith("run=") for override in overrides):
        log.warning(
            "%s: the run is %s, where this config lies, not run: %s; for that one write run=%s", path, run, said, said
        )
    return {"run": run}


def _dataset_name(url: str) -> str:
    """Name a dataset by its folder, without the parts of a URL that may be secret."""
    place = urlsplit(url).path
    shards = place.endswith(".tar") and not Path(place).is_dir()
    folder = Path(re.split("[{,]", place)[0].rpartition("/")[0] if shards else place)
    return folder.name or folder.resolve().name  # `.` has no name of its own


def from_dict(values: dict[str, Any], place: str, sent: bool = False) -> Config:
    """Merge plain values over the defaults of the model's classes, check them all, and make the frame.

    Args:
        values: a mapping of keys.
        place: start of the error message.
        sent: the config may come from somebody else: its extractor, which may be any program, is not checked.
    """
    from ganlab.engine.game import Game
    from ganlab.metrics.features import Extractor

    trust = tuple(values.get("trust", ()))
    values = _with_defaults(_without_null(Config, values))
    evaluation = values.get("evaluation")
    extractor, closed = None, {name: None if name == "model" else value for name, value in values.items()}
    if isinstance(evaluation, dict) and "extractor" in evaluation:
        extractor, closed["evaluation"] = evaluation["extractor"], {**evaluation, "extractor": None}
    complaints = [*check_arguments(Config, closed, "", frozenset(), trust)]
    if "model" in values:
        if is_part(values["model"]):
            complaints += check_value(values["model"], Game, "model", trust)
        else:
            complaints.append("model: names no class; write for example `model: {_target_: ganlab.models.DCGAN}`")
    if not sent:
        complaints += check_value(extractor, Extractor | None, "evaluation.extractor", trust)
    complaints += out_of_range(closed, sent)
    if complaints:
        lines = "".join(f"\n  {line}" for line in complaints)
        raise UserError(f"{place}: {len(complaints)} complaint{'s' * (len(complaints) > 1)}{lines}")
    config = _make(Config, values)
    assert isinstance(config, Config)
    return config


def out_of_range(values: Mapping[str, Any], sent: bool) -> Iterator[str]:
    """Yield what is wrong with the numbers of the frame, and with texts and lists that are empty."""
    for key, value in leaves(values):
        least, most = RANGES.get(key, (1, MOST))
        if isinstance(value, int | float) and not isinstance(value, bool) and not least <= value <= most:
            yield f"{key}: {value}: write at {f'least {least}' if value < least else f'most {most:_}'}"
        elif value == "" and not sent and key != "data.other.url":  # an export names no data; these are the same ones
            yield f"{key}: is empty; give a value, or remove the key"
        elif value == [] and key == "evaluation.metrics":
            yield f"{key}: [] measures nothing; name some, or remove the key"


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    from ganlab.engine.game import Game

    if not is_part(values.get("model")):
        return values
    return {**values, "model": with_defaults(values["model"], Game, tuple(values.get("trust", ())))}


# --- what runs save


UNTRAINED = {"data": {"url": ""}, "train": {"total_nimg": 1, "group": 4}, "run": ""}
"""What the frame needs and the config of an exported generator lacks; its samples do not depend on it."""


def to_yaml(config: Config | Mapping[str, Any]) -> str:
    """Write the resolved config as YAML, or an exported one's values; `from_yaml` and `load` read it back."""
    return written(config.as_dict() if isinstance(config, Config) else dict(config))


def from_yaml(path: Path, trust: Sequence[str] = ()) -> Config:
    """Read the config of a run's folder, or of an exported one, which says nothing of training: see `from_saved`."""
    values = read_yaml(path)
    return from_saved(values if "train" in values else merge(UNTRAINED, values), str(path), trust)


def from_saved(values: dict[str, Any], place: str, trust: Sequence[str] = ()) -> Config:
    """Check a config that a run of this edition or the first one has saved. It may come from somebody else.

    Its own `trust` is ignored: the caller gives `trust`.
    """
    from ganlab.experiment.former import upgrade

    return from_dict({**upgrade(values, trust, place), "trust": list(trust)}, place, sent=True)


def saved_values(values: dict[str, Any], trust: Sequence[str] = ()) -> dict[str, Any]:
    """Return a saved config with all keys of this edition, to be compared with another."""
    from ganlab.experiment.former import upgrade

    config: Config = _make(Config, _with_defaults({**upgrade(values, trust, "checkpoint"), "trust": list(trust)}))
    return config.as_dict()


def differences(saved: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {key: (saved value, value now)} for every leaf that differs; None stands for an absent key.

    Both hold all defaults, so an absent key means null. An empty mapping is a value of its own.
    """
    old, new = dict(leaves(saved)), dict(leaves(now))
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


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
