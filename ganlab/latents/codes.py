"""Codes: what single images are made of, by name or by latents, and the images that a model makes of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any

import torch
from torch import Tensor

from ganlab.classes import numbers_of
from ganlab.engine.game import Game
from ganlab.engine.samples import Sampling, blocks
from ganlab.pictures.grids import to_uint8
from ganlab.seeding import SAMPLE_BATCH, Noise
from ganlab.types import Images, Pixels, UserError


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
        """Write it as `ganlab.latents.file` reads it: its latents, and its name if it has one."""
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


def classes_of(labels: Sequence[int | str], model: Game) -> list[int]:
    """Return the numbers of classes that a person has named."""
    if not model.classes:
        raise UserError("labels: this generator takes none; it was trained without classes")
    return numbers_of(labels, model.image)
