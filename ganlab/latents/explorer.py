"""What an explorer does with a run's model, one request at a time: plain values in, codes and images out."""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganlab.data.format.decode import decode_into
from ganlab.engine.game import Game
from ganlab.evaluation import fields, inversion
from ganlab.evaluation.images import Decoded, open_images
from ganlab.experiment.checkpoints import exported
from ganlab.experiment.config import from_yaml
from ganlab.experiment.folder import from_anywhere
from ganlab.experiment.frame import Data
from ganlab.experiment.load import load
from ganlab.latents.codes import Code, alike, layers_of, made, of_seed, pixels_of, redraws, truncates
from ganlab.latents.directions import directions
from ganlab.latents.file import code_of, document
from ganlab.latents.neighbours import Neighbour, Reals
from ganlab.latents.walks import steps_between
from ganlab.metrics.reconstruction import psnr
from ganlab.pictures.grids import to_uint8
from ganlab.pictures.judgements import latent_plane, pixel_field
from ganlab.types import ImageSpec, Pixels, UserError

SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
"""First bytes of PNG, JPEG and WebP: what browsers make. The other formats have decoders that fewer people attack."""
PROJECTION_SECONDS, PROJECTION_STEPS = 20.0, 300
EXTENT = 3.0
"""Of the plane on which D is asked, in units of the directions."""


class Explorer:
    """The averaged networks of a run, and what may be asked of them.

    Its methods may be called by many threads: one at a time uses the networks, and one more searches for latents.

    Args:
        model: restored, ready to sample.
        name: of the run.
        data: of the run, for its real images.
        judges: the model's discriminator was restored too.
    """

    def __init__(self, model: Game, name: str, data: Data, judges: bool = True) -> None:
        if not model.latent and not model.remakes():
            raise UserError(f"{name}: a {type(model).__name__} makes no images, neither of latents nor of others")
        if model.image.is_point:
            raise UserError(f"{name}: makes points; the pictures in its folder samples/ show them")
        self.model, self.name, self.data = model, name, data
        self.directions = directions(model) if model.latent else torch.zeros(0, 0)
        self.judges = judges and bool(model.latent) and fields.judges(model)
        self.truncation = None if not (model.latent and truncates(model)) else 2.0 if redraws(model) else 1.0
        """The largest that makes a difference; None if none does."""
        self.using, self.searching = Lock(), Lock()

    def about(self) -> dict[str, Any]:
        """Tell what there is to explore."""
        model = self.model
        names = [*model.image.class_names] or [str(number) for number in range(model.classes)]
        return {
            **document([], model, self.name),
            "model": type(model).__name__,
            "image": [model.image.height, model.image.width],
            "latent": model.latent,
            "classes": names[: model.classes],
            "directions": len(self.directions),
            "truncation": self.truncation,
            "layers": model.layers,
            "judges": self.judges,
            "reals": bool(self.data.url),
            "remakes": model.remakes(),
        }

    def read(self, entry: Any, place: str) -> Code:
        """Read a code as `latents.json` has it."""
        if not self.model.latent:
            raise UserError(f"{place}: a {type(self.model).__name__} makes no images of latents")
        return code_of(entry, self.model, place)

    def moved(self, code: Code, moves: Sequence[float]) -> Code:
        """Move a code along the directions."""
        if not any(moves):
            return code
        way = torch.tensor(moves, dtype=code.latents.dtype) @ self.directions[: len(moves)].to(code.latents)
        return Code(code.latents + way, code.label, code.truncation)

    def pixels(self, codes: Sequence[Code]) -> Pixels:
        """Make the images [n, c, h, w] of codes."""
        with self.using:
            return pixels_of(codes, self.model)

    def walk(self, a: Code, b: Code, steps: int) -> list[Code]:
        """Return codes from a to b, both included; class and truncation change halfway."""
        begin, end = alike(self.model, [a, b])
        way = steps_between(begin, end, steps)
        halves = [a if 2 * k < steps else b for k in range(steps)]
        between = zip(way[1:-1], halves[1:-1], strict=True)
        return [a, *(Code(latents, half.label, half.truncation) for latents, half in between), b]

    def mixed(self, a: Code, b: Code, layer: int) -> Code:
        """Return a code with the latents of b from a layer on, and else what a has."""
        if not 0 <= layer <= self.model.layers or not self.model.layers:
            raise UserError(f"layer: {layer}, and this generator has {self.model.layers} layers with latents")
        rows = [layers_of(self.model, code) for code in (a, b)]
        return Code(torch.cat([rows[0][:layer], rows[1][layer:]]), a.label, a.truncation)

    @cached_property
    def reals(self) -> Reals:
        """The real images; `UserError` if they are not to be had."""
        if not self.data.url:
            raise UserError(f"{self.name}: does not say where its real images are")
        images = open_images(self.data.url, None, self.data)
        if not isinstance(images, Decoded):
            raise UserError(f"{self.data.url}: holds no images")
        return Reals(images)

    def nearest(self, code: Code) -> Sequence[Neighbour]:
        """Return the real images nearest to the image of a code."""
        (image,) = self.pixels([code])
        with self.using:
            return self.reals.nearest(image)

    def judged(self, code: Code) -> dict[str, Tensor]:
        """Draw what D says of an image and near it; pictures [c, h, w] by title."""
        if not self.judges:
            raise UserError(f"{self.name}: has no discriminator that could be asked")
        model, group = self.model, self.model.runtime.group
        with self.using, torch.no_grad():
            company = made(of_seed(model, range(group), 0), model)[1:]
            image, labels = made([code], model), torch.tensor([code.label], device=model.device)
            gradient = fields.pixel_gradients(model, image, labels, company)
            field = pixel_field(gradient.float().cpu().numpy())
            drawn = {
                "image": to_uint8(image)[0].cpu(),
                "what D would change": torch.from_numpy(field[0]).permute(2, 0, 1),
            }
            if len(self.directions) > 1:
                values = fields.on_plane(model, partial(self._near, code), code.label, company, EXTENT)
                plane = latent_plane(values, EXTENT, "D(G(z)) along directions 1 and 2")
                drawn["D near this image"] = torch.from_numpy(np.array(plane)).permute(2, 0, 1)
        return drawn

    def project(self, body: bytes) -> tuple[Code, Tensor, float]:
        """Search for the latents of a picture; return their code, the picture as the model sees it, and PSNR in dB."""
        model = self.model
        if not model.latent:
            raise UserError(f"a {type(model).__name__} makes no images of latents")
        pixels = uploaded(body, model.image)[None]
        images = model.as_floats(pixels)
        with self.searching:
            latents, labels = inversion.invert(
                model, images, torch.tensor([-1]), steps=PROJECTION_STEPS, seconds=PROJECTION_SECONDS
            )
        code = Code(latents[0].cpu(), int(labels[0]))
        with self.using, torch.no_grad():
            near = psnr(made([code], model), images.to(model.device))
        return code, pixels[0], near

    def remade(self, body: bytes) -> dict[str, Tensor]:
        """Return a picture and what the networks make of it, by title; of each domain that it may be of."""
        pixels = uploaded(body, *self.model.inputs)[None]
        labels = torch.tensor([0 if self.model.classes else -1])
        with self.using:
            parts = self.model.remake(pixels, labels)
            if self.model.remakes(other=True):
                parts |= self.model.remake(pixels, labels, other=True)
        return {title: part[0].cpu() for title, part in parts.items()}

    def _near(self, code: Code, places: Tensor) -> Tensor:
        """Make the images at places [n, 2] along the first two directions from a code."""
        return made([self.moved(code, place) for place in places.tolist()], self.model)


def opened(run: Path, trust: Sequence[str] = ()) -> Explorer:
    """Return the explorer of a run's folder, or of an exported one, which has no discriminator."""
    model = load(run, trust)
    data = from_anywhere(from_yaml(run / "config.yaml", trust), run).data
    return Explorer(model, run.resolve().name, data, judges=exported(run) is None)


def uploaded(body: bytes, *shapes: ImageSpec) -> Tensor:
    """Decode a picture [c, h, w], cut to its centre and resized to the last of some shapes, or as it is if it has one.

    PNG, JPEG or WebP.
    """
    if not body.startswith(SIGNATURES) or (body[:4] == b"RIFF" and body[8:12] != b"WEBP"):
        raise UserError("the picture: no PNG, JPEG or WebP")
    found: ValueError | None = None
    for shape in shapes:
        out = np.empty((shape.height, shape.width, shape.channels), np.uint8)
        try:
            decode_into(body, out, None if shape is shapes[-1] else (shape.height, shape.width))
        except ValueError as error:
            found = error
            continue
        return torch.from_numpy(out).permute(2, 0, 1)
    raise UserError(f"the picture: {found}")
