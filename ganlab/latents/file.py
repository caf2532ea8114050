"""`latents.json`, in which codes travel between `explore`, `sample` and `film`; anybody may have written one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ganlab.engine.game import Game
from ganlab.evaluation.images import hash_of_weights
from ganlab.latents.codes import Code, classes_of, of_seed
from ganlab.types import UserError

FORMAT = 1
LARGEST_NUMBER = 10**9
"""Numbers of images lie below."""
LARGEST_SEED = 2**63
FARTHEST = 100.0
"""Largest absolute coordinate of a latent that is read: no prior's lies there, and far ones overflow."""
MOST = 10_000
"""Images in a file."""
KEYS = frozenset({"seed", "image", "label", "truncation", "latents"})


def document(codes: Sequence[Code], model: Game, run: str) -> dict[str, Any]:
    """Return what `latents.json` holds: codes, and the run and the weights that they were chosen with."""
    about = {"run": run, "nimg": model.clock.nimg, "weights": hash_of_weights(model.ema)}
    return {"format": FORMAT, "ganlab": version("ganlab"), **about, "images": [code.as_json() for code in codes]}


def read(file: Path, model: Game) -> tuple[list[Code], str | None]:
    """Read `latents.json`; return its codes, and a remark if other weights than the model's made their images."""
    try:
        found = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: no JSON: {error}; give a latents.json, such as `ganlab explore` saves") from None
    codes = codes_in(found, model, str(file))
    if found.get("weights") in (None, hash_of_weights(model.ema)):
        return codes, None
    return codes, f"{file}: these latents were chosen with other weights; their images may be others here"


def codes_in(document: Any, model: Game, place: str) -> list[Code]:
    """Read the codes of what `latents.json` holds."""
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise UserError(f'{place}: no latents.json: its "format" must be {FORMAT}')
    entries = document.get("images")
    if not isinstance(entries, list) or not 0 < len(entries) <= MOST:
        raise UserError(f'{place}: "images" must be a list of 1 to {MOST:,} images')
    return [code_of(entry, model, f"{place}: images[{number}]") for number, entry in enumerate(entries)]


def code_of(entry: Any, model: Game, place: str) -> Code:
    """Read a code: `{"seed": 0, "image": 37}` or `{"latents": [...]}`, perhaps with a `label` and a `truncation`.

    The label is a class's name or number. Of an entry that has a name and latents, the latents are what counts.

    Args:
        entry: from JSON that anybody may have written.
        model: makes images of latents.
        place: where the entry stands, for messages.
    """
    if not isinstance(entry, Mapping) or not entry or entry.keys() - KEYS:
        raise UserError(
            f'{place}: write {{"seed": 0, "image": 37}} or {{"latents": [...]}}, perhaps with "label" and "truncation"'
        )
    if given := [name for name in ("seed", "image") if name in entry]:
        if len(given) == 1:
            raise UserError(f"{place}: {given[0]} alone; an image's name is its seed and its number, as image")
        for name, end in (("seed", LARGEST_SEED), ("image", LARGEST_NUMBER)):
            if type(entry[name]) is not int or not 0 <= entry[name] < end:
                raise UserError(f"{place}.{name}: not a whole number from 0 below {end:,}")
    label, truncation = _label_of(entry, model, place), _truncation_of(entry, place)
    if "latents" not in entry:
        if not given:
            raise UserError(f"{place}: has neither latents nor a seed and the number of an image")
        (code,) = of_seed(model, [entry["image"]], entry["seed"], truncation=truncation)
        return code if label is None else replace(code, label=label)
    if label is None and model.classes:
        raise UserError(f"{place}: has latents and no label, and this generator makes images of a class")
    latents = torch.tensor(_latents_of(entry["latents"], model, f"{place}.latents"), dtype=model.real_dtype)
    return Code(latents, -1 if label is None else label, truncation, entry.get("seed"), entry.get("image"))


def _latents_of(values: Any, model: Game, place: str) -> list[float] | list[list[float]]:
    """Check latents, or those of each layer."""
    if model.layers and isinstance(values, list) and len(values) == model.layers and isinstance(values[0], list):
        return [_numbers(row, model.latent, f"{place}[{number}]") for number, row in enumerate(values)]
    return _numbers(values, model.latent, place)


def _truncation_of(entry: Mapping[str, Any], place: str) -> float | None:
    """Return the truncation of an entry; None if it has none."""
    truncation = entry.get("truncation")
    if truncation is None:
        return None
    if type(truncation) not in (int, float) or not 0 <= truncation <= FARTHEST:
        raise UserError(f"{place}.truncation: not a number from 0 to {FARTHEST:g}")
    return float(truncation)


def _numbers(values: Any, count: int, place: str) -> list[float]:
    """Check the coordinates of a latent."""
    if not isinstance(values, list) or len(values) != count:
        found = f"{len(values)} numbers" if isinstance(values, list) else "no list"
        raise UserError(f"{place}: {found}, and this generator's latents have {count}")
    for value in values:
        if type(value) not in (int, float) or not abs(value) <= FARTHEST:  # NaN is not either
            raise UserError(f"{place}: holds something other than numbers from {-FARTHEST:g} to {FARTHEST:g}")
    return [float(value) for value in values]


def _label_of(entry: Mapping[str, Any], model: Game, place: str) -> int | None:
    """Return the class of an entry; None if it has none."""
    label = entry.get("label")
    if label is None:
        return None
    if type(label) not in (int, str):
        raise UserError(f"{place}.label: neither the number nor the name of a class")
    return classes_of([label], model)[0]
