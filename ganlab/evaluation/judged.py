"""The metric of what a discriminator says of samples: how steep it is, with a picture of where it would push them."""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ganlab.evaluation.images import Samples
from ganlab.evaluation.metric import Metric, Value
from ganlab.evaluation.side import Side
from ganlab.pictures.grids import grid_by_title, to_uint8
from ganlab.pictures.judgements import latent_plane, pixel_field
from ganlab.seeding import SAMPLE_BATCH, Noise
from ganlab.types import Images, Labels, Latents

if TYPE_CHECKING:
    from ganlab.engine.game import Game

SHOWN = 8
"""Samples in the picture."""
EXTENT = 1.5
"""Of the plane of latents, in those of two samples."""


class Judged(NamedTuple):
    """The first samples of a game, and what its discriminator says of them."""

    model: "Game"
    latents: Latents
    labels: Labels
    images: Images
    company: Images
    """Samples beside which each one is judged, as a layer that couples a group needs it."""
    gradients: Tensor
    """Of its scores on the pixels."""


@torch.no_grad()
def judged(fakes: Side) -> Judged:
    """Ask the discriminator of a run."""
    from ganlab.evaluation.fields import pixel_gradients  # brings Lightning, which only models need

    assert isinstance(fakes.images, Samples)
    model = fakes.images.model
    latents, labels = model.draw_latents(SAMPLE_BATCH, Noise(0, 0, 0, dtype=model.real_dtype), "sample")
    latents, labels = latents.to(model.device), labels.to(model.device)
    images = model.averaged(latents, labels)
    company = images[SAMPLE_BATCH - model.runtime.group + 1 :]
    return Judged(model, latents, labels, images, company, pixel_gradients(model, images, labels, company))


def field(fakes: Side, _: Side) -> dict[str, Value]:
    """Mean norm of the discriminator's gradient on the pixels of samples."""
    norms = judged(fakes).gradients.flatten(1).norm(dim=1)
    return {"field": Value(float(norms.mean()), float(norms.std() / math.sqrt(len(norms))))}


METRIC = Metric(field, frozenset({"scores"}), of="fakes", fakes=SAMPLE_BATCH)


def draw_field(fakes: Side, _: Side) -> Image.Image:
    """Draw samples, where the discriminator would have each pixel lighter or darker, and what it says between two.

    The plane below goes through the latents 0, of sample 0 at (1, 0) and of sample 1 at (0, 1).
    """
    from ganlab.evaluation.fields import on_plane

    found = judged(fakes)
    colours = pixel_field(found.gradients[:SHOWN].float().cpu().numpy())
    parts = {"samples": to_uint8(found.images[:SHOWN]).cpu()[:, :3], "push": torch.from_numpy(colours).movedim(3, 1)}
    rows = grid_by_title(parts, SHOWN)

    def make(places: Tensor) -> Tensor:
        return found.model.averaged(places.to(found.latents) @ found.latents[:2], found.labels[:1].expand(len(places)))

    values = on_plane(found.model, make, int(found.labels[0]), found.company, EXTENT)
    plane = latent_plane(values, EXTENT, "D(G(z)): sample 0 at the right, 1 above")
    sheet = Image.new("RGB", (max(rows.width, plane.width), rows.height + plane.height), "white")
    sheet.paste(rows, (0, 0))
    sheet.paste(plane, (0, rows.height))
    return sheet
