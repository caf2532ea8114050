"""Images that a run makes of real ones, as a set to evaluate, with their errors where the right answer is known."""

from typing import TYPE_CHECKING

from torch import Tensor

from ganlab.evaluation.images import ImageSet, hash_of_weights, open_images
from ganlab.experiment.frame import Config
from ganlab.types import Labels, Pixels, UserError

if TYPE_CHECKING:
    from ganlab.engine.game import Game

TRUTH = "truth"
"""Title of the right answer."""
ERRORS = frozenset({"reconstruction"})
"""Metrics that need `Made` images."""


class Made(ImageSet):
    """What the averaged networks make of images.

    Args:
        model: settled, and gathered if ranks make different images.
        images: the first `n` of these.
        name: name in messages.
        title: of the part that is shown; None is the output.
    """

    def __init__(self, model: "Game", images: ImageSet, n: int | None, name: str, title: str | None = None) -> None:
        self.model, self.images, self.title = model, images, title
        self.n, self.total, self.name = min(n or len(images), len(images)), len(images), name
        self.classes, self.class_names = images.classes, images.class_names
        weights = " ".join(map(hash_of_weights, model.averaged_networks))
        self.fingerprint = f"{weights} of {images.fingerprint} {title or 'output'}"
        self.origin = {"weights": "ema", "batch_norm": "live", "made_from": images.name}

    def __len__(self) -> int:
        return self.n

    def block(self, start: int) -> tuple[Pixels, Labels]:
        """Make a block."""
        parts, labels = self._parts(start)
        _, output, *_ = parts
        return parts[self.title or output], labels

    def errors(self, start: int) -> dict[str, Tensor]:
        """Return the mean absolute error of each image of a block, of levels in [0, 1], and its PSNR in dB.

        Of the output against the truth; without one, of the last part against the input.
        """
        parts, _ = self._parts(start)
        first, output, *_ = parts
        made, truth = (parts[output], parts[TRUTH]) if TRUTH in parts else (parts[[*parts][-1]], parts[first])
        errors = (made.double() - truth.double()).div(255).flatten(1)
        return {"l1": errors.abs().mean(1), "psnr": -10 * errors.square().mean(1).clamp(min=1e-10).log10()}

    def _parts(self, start: int) -> tuple[dict[str, Pixels], Labels]:
        images, labels = self.images.block(start)
        parts = self.model.remake(images[: self.n - start], labels[: self.n - start])
        return {title: part.cpu() for title, part in parts.items()}, labels[: self.n - start]


def sides_of(model: "Game", config: Config, named: str | None, n: int | None, name: str) -> tuple[ImageSet, ImageSet]:
    """Return what a game without latents makes of the images of its data, and what that is compared with.

    Translations are compared with the images of the other domain; where the truth is known, with that.

    Args:
        named: the reals, by the command line: of the other domain, or images with their truth.
    """
    data = config.data
    if model.remakes(other=True):
        reals = named or config.evaluation.data or (data.other and data.other.url)
        if not (data.url and reals):
            raise UserError(f"{name}: an exported model names no images; evaluate the run that it was exported from")
        return Made(model, open_images(data.url, None, data), n, name), open_images(reals, None, data)
    place = named or config.evaluation.data or data.url
    if not place:
        raise UserError(f"{name}: an exported model names no images; give some with --data")
    images = open_images(place, None, data)
    return Made(model, images, n, name), Made(model, images, n, f"truth of {images.name}", TRUTH)


def refuse_unpaired(metric: str, fakes: ImageSet) -> None:
    """Refuse errors of images that are not made of others."""
    if metric in ERRORS and not (isinstance(fakes, Made) and fakes.model.remakes()):
        raise UserError(f"{metric}: needs a run that makes images of real ones; leave it out of the metrics")
