"""Codes: what single images are made of, by name or by latents, and `latents.json`, in which they travel."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganlab.classes import numbers_of
from ganlab.engine.game import Game
from ganlab.engine.samples import Sampling, blocks
from ganlab.evaluation.images import hash_of_weights
from ganlab.files import atomic_write
from ganlab.pictures.grids import to_uint8
from ganlab.seeding import SAMPLE_BATCH, Noise
from ganlab.types import Images, Pixels, UserError

FORMAT = 1
LARGEST_NUMBER = 10**9
"""Numbers of images lie below."""
LARGEST_SEED = 2**63
FARTHEST = 100.0
"""Largest absolute coordinate of a latent that is read: no prior's lies there, and far ones overflow."""
MOST = 10_000
"""Images in a file."""
KEYS = frozenset({"seed", "image", "label", "truncation", "latents"})


@dataclass(frozen=True, eq=False)
class Code:
    """What an image is made of.

    Args:
        latents: [latent], or [layers, latent] with latents of its own for each layer; on the CPU. Where truncation
            draws numbers again, they are drawn already.
        label: its class; -1 for none.
        truncation: as the model takes it; None for none.
        seed, image: its name, "image 37 of seed 0"; None of latents that were moved, mixed or found.
    """

    latents: Tensor
    label: int = -1
    truncation: float | None = None
    seed: int | None = None
    image: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Write it as `code_of` reads it: its latents, and its name if it has one."""
        name = {} if self.seed is None else {"seed": self.seed, "image": self.image}
        label = {} if self.label < 0 else {"label": self.label}
        truncation = {} if self.truncation is None else {"truncation": self.truncation}
        return {**name, **label, **truncation, "latents": self.latents.tolist()}


def of_seed(
    model: Game,
    numbers: Sequence[int],
    seed: int,
    labels: Sequence[int | str] | None = None,
    truncation: float | None = None,
) -> list[Code]:
    """Return the codes of images by number: those that `model.sample(numbers, seed, labels, truncation)` makes."""
    if not model.latent:
        raise UserError(f"{type(model).__name__}: makes no images of a seed")
    chosen = None if labels is None else classes_of(labels, model)
    found: dict[int, Code] = {}
    for start, wanted in blocks(numbers):
        noise = Noise(seed, 0, start, dtype=model.real_dtype)
        latents, classes = model.draw_latents(SAMPLE_BATCH, noise, "sample")
        if truncation is not None and redraws(model):
            latents = model.redrawn(latents, truncation, noise, "sample")
        for i in wanted:
            label = int(classes[i - start]) if chosen is None else chosen[i % len(chosen)]
            found[i] = Code(latents[i - start], label, truncation, seed, i)
    return [found[i] for i in numbers]


def redraws(model: Game) -> bool:
    """Tell whether truncation draws numbers of the latents again; else it does something to the network, or nothing."""
    return type(model).truncated is Sampling.truncated


def truncates(model: Game) -> bool:
    """Tell whether truncation means something for a model."""
    try:
        made(of_seed(model, [0], 0, truncation=0.5), model)
    except UserError:
        return False
    return True


def alike(model: Game, codes: Sequence[Code]) -> Tensor:
    """Return the latents of codes [n, latent], or [n, layers, latent] if any has latents of its own for each layer."""
    layered = any(code.latents.ndim == 2 for code in codes)
    return torch.stack([layers_of(model, code) if layered else code.latents for code in codes])


def layers_of(model: Game, code: Code) -> Tensor:
    """Return the latents for each layer [layers, latent]."""
    return code.latents if code.latents.ndim == 2 else code.latents.expand(model.layers, -1)


def in_classes(codes: Sequence[Code], labels: Sequence[int | str], model: Game) -> list[list[Code]]:
    """Return each code as one of every class, [codes, labels]."""
    return [[replace(code, label=label) for label in classes_of(labels, model)] for code in codes]


def images_of(codes: Iterable[Code], model: Game) -> Iterator[Pixels]:
    """Make the images [1, c, h, w] of codes with the averaged network, a block at a time."""
    codes = iter(codes)
    while block := [*islice(codes, SAMPLE_BATCH)]:
        for _, alike in groupby(block, lambda code: (code.truncation, code.latents.ndim)):
            yield from to_uint8(made([*alike], model)).cpu().split(1)


@torch.no_grad()
def made(codes: Sequence[Code], model: Game) -> Images:
    """Make the images in [-1, 1] of codes of one truncation, all with latents for each layer or none."""
    latents = torch.stack([code.latents for code in codes]).to(model.real_dtype)
    labels = torch.tensor([code.label for code in codes])
    truncation = codes[0].truncation
    if truncation is not None and redraws(model):  # numbers between two codes, or moved, may be beyond it
        latents, truncation = latents.clamp(-truncation, truncation), None
    if latents.ndim == 3:
        return model.mixed(latents.to(model.device), labels.to(model.device), truncation)
    if truncation is not None:
        return model.truncated(latents, labels, truncation, Noise(0, 0, dtype=model.real_dtype), "sample")
    return model.averaged(latents.to(model.device), labels.to(model.device))


def pixels_of(codes: Iterable[Code], model: Game) -> Pixels:
    """Make the images [n, c, h, w] of codes."""
    return torch.cat([*images_of(codes, model)])


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
    label, truncation = _label_of(entry, model, place), _truncation_of(entry, model, place)
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


def _truncation_of(entry: Mapping[str, Any], model: Game, place: str) -> float | None:
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
        if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > FARTHEST:
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


def classes_of(labels: Sequence[int | str], model: Game) -> list[int]:
    """Return the numbers of classes that a person has named."""
    if not model.classes:
        raise UserError("labels: this generator takes none; it was trained without classes")
    return numbers_of(labels, model.image)


def write(file: Path, codes: Sequence[Code], model: Game, run: str) -> None:
    """Write `latents.json`."""
    with atomic_write(file) as out:
        out.write(json.dumps(document(codes, model, run), indent=1).encode())


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
