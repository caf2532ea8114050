"""Configs of the first edition: its names of keys, and the meaning of its saved configs."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ganlab.engine.averages import RAMPED
from ganlab.engine.game import Game
from ganlab.experiment.parts import as_part, defaults_of, is_map_of_parts, is_part, parameters_of
from ganlab.experiment.targets import resolve
from ganlab.models import SNGAN
from ganlab.schedules import Linear
from ganlab.types import UserError

RENAMED = {
    "rate": "model.lr",
    "rate_schedule": "model.lr_schedule",
    "rate_factors": "model.lr_factors",
    "discriminator_moves": "model.discriminator_steps",
    "group": "train.group",
}
"""Arguments of the model in the first edition, with the keys that replaced them."""
SNGAN_NIMG = 16_000_000
"""The images at which SN-GAN's learning rate reached 0, whatever the run's length."""

AVERAGE = "ema_half_life"
AVERAGE_NIMG = 10_000.0
"""The constant half-life that averages had by default before it was ramped up; runs that have it keep it."""

log = logging.getLogger(__name__)


def with_new_names(layers: Sequence[dict[str, Any]], model: Any, trust: Sequence[str], place: str) -> list[Any]:
    """Return the layers of a config with the new keys; warn once of each former one.

    Raises `UserError` where one layer has a key under both names.

    Args:
        layers: mappings of keys, the lowest first.
        model: the merged model section.
        trust: prefixes of targets.
        place: start of a message.
    """
    names = renamed_in(model, trust)
    found = {name for layer in layers for name in names if name in _section(layer, "model")}
    for name in sorted(found):
        log.warning("%s: model.%s is now called %s; please write that", place, name, names[name])
    return [renamed(layer, names, place) for layer in layers]


def renamed_in(model: Any, trust: Sequence[str]) -> dict[str, str]:
    """Return the former names that a model's class does not have; a user's own class may have such an argument."""
    target = target_of(model, trust)
    return {} if target is None else {old: new for old, new in RENAMED.items() if old not in parameters_of(target)}


def target_of(model: Any, trust: Sequence[str]) -> type | None:
    """Return the class of a model; None if it cannot be resolved, which the checks report."""
    try:
        return resolve(str(model["_target_"]), Game, trust) if is_part(model) else None
    except UserError:
        return None


def renamed(values: dict[str, Any], names: Mapping[str, str], place: str) -> dict[str, Any]:
    """Return a config with new names for some arguments of its model."""
    for old in [name for name in names if name in _section(values, "model")]:
        section, _, new = names[old].partition(".")
        if new in _section(values, section):
            raise UserError(f"{place}: model.{old} and {names[old]} are one key under two names; remove model.{old}")
        model = dict(values["model"])
        value = model.pop(old)
        values = {**values, "model": model}
        values[section] = {**_section(values, section), new: value}
    return values


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = values.get(name)
    return section if isinstance(section, dict) else {}


def upgrade(values: dict[str, Any], trust: Sequence[str], place: str) -> dict[str, Any]:
    """Convert a config that the first edition saved; a config of this edition is returned unchanged.

    In the first edition null stood for the paper's own choice, given regularizers replaced the paper's, a learning rate
    beside optimizers had no effect, and SN-GAN's fell to 0 over 16 million images.
    """
    if "group" in _section(values, "train") or (target := target_of(values.get("model"), trust)) is None:
        return values
    values = renamed(values, renamed_in(values["model"], trust), place)
    model = {name: value for name, value in values["model"].items() if value is not None}
    for name, default in defaults_of(target).items():
        if name in model and is_map_of_parts(default):
            model[name] = dict.fromkeys(default) | model[name]
    if model.get("optimizers"):
        for name in ("lr", "betas"):
            model.pop(name, None)
    if model.get("lr_factors") == {}:
        model["lr_factors"] = {"4": 1.0}
    if AVERAGE in parameters_of(target) and not model.get("ema"):
        model.setdefault(AVERAGE, AVERAGE_NIMG)
    if issubclass(target, SNGAN):
        model.setdefault("lr_schedule", as_part(Linear(until_nimg=SNGAN_NIMG)))
    return {**values, "model": model}


def with_average_of(before: Mapping[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Return a model section with the half-life that the run began with, where both have their time's default."""
    keeps = before.get(AVERAGE) == AVERAGE_NIMG and model.get(AVERAGE) == as_part(RAMPED)
    return {**model, AVERAGE: AVERAGE_NIMG} if keeps else model
