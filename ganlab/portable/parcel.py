"""What is exported: a model, what is known of it, and the files that every form of it has."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

from ganlab.engine.game import Game
from ganlab.evaluation import results
from ganlab.experiment.config import from_saved
from ganlab.experiment.frame import Config, Machine
from ganlab.experiment.load import newest_checkpoint, restored
from ganlab.experiment.parts import hints_of, parameters_of
from ganlab.experiment.targets import resolve
from ganlab.models import GANModule

PAPERS = re.compile(
    r"(\w+_)?(lr|momentum|beta2|betas|eps|decay|half_life|regularizers|optimizers?|steps|bound)|weight_decay|lr_\w+|"
    r"ema_from_nimg|batches|features|augment|pool|orthogonal|initial_weights|(cycle|identity|l1|features|adversarial)_weight"
)
"""Names of arguments of our papers' classes that only training uses, besides those of `GANModule`."""


@dataclass(frozen=True)
class Parcel:
    """A model of a run, to be sent to a stranger."""

    model: Game
    config: Config
    name: str
    """That of its folder."""
    licence: str | None
    """As an identifier, such as mit; None if its author did not say."""
    results: Sequence[Mapping[str, Any]]
    """Rows of `results.jsonl` that were measured of these weights."""
    sheet: Image.Image | None = None
    """Images of seed 0; None for a model whose images would show real ones."""
    where: str = ""
    """Which image is where on it."""

    @property
    def trust(self) -> Sequence[str]:
        """Packages whose classes the model needs besides ganlab's and torch's."""
        return self.config.trust

    @property
    def about(self) -> dict[str, str]:
        """What files of other formats say of themselves."""
        facts = {
            "model": type(self.model).__name__,
            "nimg": str(self.model.clock.nimg),
            "ganlab": version("ganlab"),
            "images": str(self.model.image),
        }
        names = {"class_names": json.dumps(self.model.image.class_names)} if self.model.image.class_names else {}
        return facts | names | ({"license": self.licence} if self.licence else {})


def parcel_of(run: Path, name: str, trust: Sequence[str], licence: str | None) -> Parcel:
    """Read the newest checkpoint of a run, and what was measured of it."""
    checkpoint = newest_checkpoint(run)
    config = from_saved(checkpoint["config"], str(run), trust)
    model = restored(checkpoint, config)
    newest = {row["name"]: row for row in results.read(run) if row["nimg"] == model.clock.nimg}
    return Parcel(model, config, name, licence, [*newest.values()])


def in_float32(model: Game) -> Game:
    """Return a model that computes in float32, which is what others run."""
    model.real_dtype = torch.float32
    return model.float()


def weights(model: Game) -> bytes:
    """Return all averages as safetensors, those of the first one by the names that they have in its network."""
    tensors = {
        f"{at}.{name}" if number else name: tensor.contiguous()
        for number, at in enumerate(model.average_names.values())
        for name, tensor in getattr(model, at).state_dict().items()
    }
    data: bytes = save(tensors, {"format": "pt", "nimg": str(model.clock.nimg)})
    return data


def kept(config: Config) -> dict[str, Any]:
    """Return the part of a config that samples depend on: the images, and the model without its training.

    What is optional and does not make networks is left out.
    """
    target = resolve(str(config.model["_target_"]), Game, config.trust)
    optional = {name for name, parameter in parameters_of(target).items() if parameter.default is not parameter.empty}
    parts = {name for name, hint in hints_of(GANModule).items() if hint is not nn.Module}
    left_out = {name for name in optional if PAPERS.fullmatch(name)}
    left_out |= parts & optional if issubclass(target, GANModule) else set()
    model = {name: value for name, value in config.model.items() if name not in left_out}
    assert config.data.image is not None, "a run has agreed on its images"
    data: dict[str, Any] = {"image": asdict(config.data.image)}
    if config.data.other is not None and config.data.other.image is not None:
        data["other"] = {"url": "", "image": asdict(config.data.other.image)}  # where it lay is not told
    values: dict[str, Any] = {"model": model, "data": data}
    if config.machine.precision != Machine.precision:  # the weights of fp64 have another type
        values["machine"] = {"precision": config.machine.precision}
    return values


def png(picture: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()
