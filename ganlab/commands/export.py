"""The verb `export`: the averaged networks of a run, with what a stranger needs to use them."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from ganlab.classes import named
from ganlab.commands.sample import drawn
from ganlab.engine.game import Game
from ganlab.experiment.checkpoints import GENERATOR
from ganlab.experiment.config import from_saved, to_yaml
from ganlab.experiment.frame import Config, Machine
from ganlab.experiment.load import newest_checkpoint, restored
from ganlab.experiment.parts import hints_of, parameters_of
from ganlab.experiment.targets import resolve
from ganlab.files import atomic_write
from ganlab.models import GANModule
from ganlab.pictures.tiles import save_png
from ganlab.types import UserError

SHOWN, ROWS = 64, 8
"""Images of the picture, and the largest number of classes in it, one a row."""
NAMED = 100
"""Largest number of classes that the README lists."""
PAPERS = frozenset(
    {"lr", "generator_lr", "discriminator_lr", "lr_factors", "betas", "eps", "batches"}
    | {"ema_decay", "ema_from_nimg", "orthogonal"}
)
"""Arguments of our papers' classes that only training uses, besides those of `GANModule`."""
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}


def export(run: Path, out: Path, trust: Sequence[str]) -> None:
    """Write the averaged networks as safetensors, the config that builds them, a picture and a README.

    None of them can run code, and none says where the run and its data lay. A game that makes images of real ones gets
    no picture: it would hold some of them.
    """
    checkpoint = newest_checkpoint(run)
    config, model = from_saved(checkpoint["config"], str(run), trust), restored(checkpoint, run, trust)
    sheet, where = of_seed(model) if model.latent else (None, "")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / GENERATOR) as file:
            file.write(save(averages(model), {"nimg": str(model.clock.nimg)}))
        if sheet is not None:
            save_png(sheet, out / "samples.png")
        with atomic_write(out / "config.yaml") as file:
            file.write(to_yaml(kept(config)).encode())
        if not (out / "README.md").exists():  # its author may have written in it
            with atomic_write(out / "README.md") as file:
                file.write(card(model, out.name, where, trust).encode())
    except OSError as error:
        raise UserError(f"{out}: cannot write there: {error.strerror}; choose another folder with --out") from None


def averages(model: Game) -> dict[str, Tensor]:
    """Return the weights of all averages, those of the first one by the names that they have in its network."""
    return {
        f"{at}.{name}" if number else name: tensor.contiguous()
        for number, at in enumerate(model.average_names.values())
        for name, tensor in getattr(model, at).state_dict().items()
    }


def of_seed(model: Game) -> tuple[Image.Image, str]:
    """Draw the first images of seed 0, one row per class; return the grid, and which image is where."""
    labels = list(range(min(model.classes, ROWS)))
    numbers = range(SHOWN // max(len(labels), 1) * max(len(labels), 1))
    return drawn(model.sample(numbers, labels=labels or None), numbers, labels, model)


def kept(config: Config) -> dict[str, Any]:
    """Return the part of a config that samples depend on: the images, and the model without its training.

    Of a `GANModule`, what is optional and does not make its networks is left out.
    """
    target = resolve(str(config.model["_target_"]), Game, config.trust)
    training = {name for name, hint in hints_of(GANModule).items() if hint is not nn.Module} | PAPERS
    optional = {name for name, parameter in parameters_of(target).items() if parameter.default is not parameter.empty}
    left_out = training & optional if issubclass(target, GANModule) else set[str]()
    model = {name: value for name, value in config.model.items() if name not in left_out}
    assert config.data.image is not None, "a run has agreed on its images"
    data: dict[str, Any] = {"image": asdict(config.data.image)}
    if config.data.other is not None and config.data.other.image is not None:
        data["other"] = {"url": "", "image": asdict(config.data.other.image)}  # where it lay is not told
    values: dict[str, Any] = {"model": model, "data": data}
    if config.machine.precision != Machine.precision:  # the weights of fp64 have another type
        values["machine"] = {"precision": config.machine.precision}
    return values


def card(model: Game, name: str, where: str, trust: Sequence[str]) -> str:
    """Return the README of an exported model; `where` says which image is where in its picture, if it has one."""
    image = model.image
    needs = f", but it needs classes of {', '.join(trust)}" if trust else ""
    of = "" if model.latent else " of other images"
    lines = [
        f"# {name}",
        f"The averaged generator of a {type(model).__name__} after {model.clock.nimg:,} training images. It makes "
        f"images{of} of {image.height}x{image.width} px (height x width), {COLOURS[image.channels]}. To use it, "
        f"install ganlab; nothing in this folder can run code{needs}.",
        "What it was trained on, and under which licence it may be used, is for its author to say here.",
        *[f"![samples](samples.png)\n\nOf seed 0: {where}."] * bool(where),
        "```sh\n" + "\n".join(commands(model, name, trust)) + "\n```",
        code(model, name, trust),
        *classes(model),
    ]
    return "\n\n".join(lines) + "\n"


def commands(model: Game, name: str, trust: Sequence[str]) -> list[str]:
    """Return examples of the command line."""
    command = shlex.join(["ganlab", "sample", name, *(word for prefix in trust for word in ("--trust", prefix))])
    examples = list[str]()
    if model.latent:
        examples += [f"{command} -n 64 --seed 1 --out grid.png", f"{command} --images 5,10-12 --each --out pictures"]
    if model.latent and model.classes:
        some = ",".join(named(k, model.image.class_names) for k in range(min(model.classes, 2)))
        examples.append(f"{command} --labels {shlex.quote(some)} --out classes.png")
    if model.remakes():
        examples.append(f"{command} --from IMAGES -n 8 --out made.png")
    return examples


def code(model: Game, name: str, trust: Sequence[str]) -> str:
    """Return the example in Python."""
    image, trusted = model.image, f", trust={list(trust)!r}" if trust else ""
    loaded = f"ganlab.load({name!r}{trusted})"
    labels = f", labels=[{image.class_names[0]!r}]" if model.classes and image.class_names else ""
    shape = f"[16, {image.channels}, {image.height}, {image.width}]"
    made = f"images = {loaded}.sample(16, seed=0{labels})  # uint8 {shape}"
    if not model.latent:
        made = f"parts = {loaded}.remake(images)  # uint8 {shape} to such images by title"
    return f"```python\nimport ganlab\n\n{made}\n```"


def classes(model: Game) -> list[str]:
    """Return the list of classes, if there are any."""
    if not model.classes:
        return []
    if model.image.class_names and model.classes <= NAMED:
        return ["Classes:\n\n" + "\n".join(f"{k}. {name}" for k, name in enumerate(model.image.class_names))]
    return [f"Classes: 0 to {model.classes - 1}" + "; config.yaml names them." * bool(model.image.class_names)]
