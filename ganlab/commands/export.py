"""The verb `export`: the averaged networks of a run, in a folder with what a stranger needs to use them."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args

from PIL import Image

from ganlab.commands.sample import drawn
from ganlab.engine.game import Game
from ganlab.experiment.checkpoints import GENERATOR, HUB, exported
from ganlab.experiment.config import to_yaml
from ganlab.files import atomic_write
from ganlab.portable import card
from ganlab.portable.functions import functions_of
from ganlab.portable.graphs import as_onnx, as_pt2, need_onnx, with_half_weights
from ganlab.portable.parcel import Parcel, in_float32, kept, parcel_of, png, weights
from ganlab.types import UserError

Form = Literal["safetensors", "onnx", "pt2", "hub", "page"]

SHOWN, ROWS = 64, 8
"""Images of the picture, and the largest number of classes in it, one a row."""
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
"""An identifier as SPDX and the Hugging Face Hub write it, in lower case."""


def export(
    run: Path,
    out: Path,
    trust: Sequence[str] = (),
    form: Form = "safetensors",
    licence: str | None = None,
    runtime: Path | None = None,
) -> list[str]:
    """Write a model's averaged networks in one form, with a README and a picture; return what to say.

    Nothing in the folder can run code but a page's own script, and nothing says where the run and its data lay. A game
    that makes images of real ones gets no picture: it would hold some of them.

    Args:
        run: a run's folder.
        out: folder to write.
        trust: packages whose classes the model needs.
        form: `safetensors`, which `ganlab.load` reads; `onnx` and `pt2`, graphs of its functions; `hub`, a folder for
            the Hugging Face Hub, which `ganlab.load` reads too; `page`, a static site that runs the model.
        licence: identifier; asked for where a folder is made for the public, and never guessed.
        runtime: for a page: folder of onnxruntime-web, to be held in the page.
    """
    refuse(form, licence, runtime)
    if (suffix := out.suffix[1:]) in get_args(Form):
        raise UserError(f"{out}: an export is a folder; write --out {out.with_suffix('')} --format {suffix}")
    if (out / "config.yaml").exists() and exported(out) is None:
        raise UserError(f"{out}: holds another config.yaml, which would be lost; choose another folder with --out")
    parcel = parcel_of(run, out.resolve().name, trust, licence)
    if parcel.model.latent:
        sheet, where = of_seed(parcel.model)
        parcel = replace(parcel, sheet=sheet, where=where)
    files = files_of(parcel, form, runtime)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            if name != "README.md" or not (out / name).exists():  # its author may have written in it
                with atomic_write(out / name) as file:
                    file.write(data)
    except OSError as error:
        raise UserError(f"{out}: cannot write there: {error.strerror}; choose another folder with --out") from None
    return [str(out), *next_step(out, form, runtime)]


def refuse(form: Form, licence: str | None, runtime: Path | None) -> None:
    """Refuse what does not fit together, before anything is loaded."""
    if licence is None and form in ("hub", "page"):
        raise UserError(
            f"--license: say under which licence others may use the model: --format {form} --license cc-by-4.0, mit, "
            "apache-2.0 or another identifier; other if none fits"
        )
    if licence is not None and not LICENCE.fullmatch(licence):
        raise UserError(f"--license: {licence!r}: write an identifier in lower case, such as cc-by-4.0, mit or other")
    if runtime is not None and form != "page":
        raise UserError(f"--runtime: a page holds it, and --format is {form}; leave it out")
    if runtime is not None:
        from ganlab.portable import page  # brings jinja2, which only a page needs

        page.runtime_in(runtime)
    if form in ("onnx", "page"):
        need_onnx(form)


def of_seed(model: Game) -> tuple[Image.Image, str]:
    """Draw the first images of seed 0, one row per class; return the grid, and which image is where."""
    labels = list(range(min(model.classes, ROWS)))
    numbers = range(SHOWN // max(len(labels), 1) * max(len(labels), 1))
    return drawn(model.sample(numbers, labels=labels or None), numbers, labels, model)


def files_of(parcel: Parcel, form: Form, runtime: Path | None) -> dict[str, bytes]:
    """Return the files of a form by name."""
    match form:
        case "safetensors":
            files = with_weights(parcel, GENERATOR, card.card(parcel, form, []))
        case "hub":
            front = card.front_of_card(parcel)
            files = with_weights(parcel, HUB, card.with_front(front, card.card(parcel, form, [])))
            files["config.json"] = described(parcel)
        case "onnx" | "pt2":
            write = as_onnx if form == "onnx" else as_pt2
            functions = functions_of(in_float32(parcel.model))
            files = {f"{each.name}.{form}": write(parcel.model, each, parcel.about) for each in functions}
            files["README.md"] = card.card(parcel, form, functions).encode()
        case "page":
            files = as_page(parcel, runtime)
    return files if parcel.sheet is None else {**files, "samples.png": png(parcel.sheet)}


def with_weights(parcel: Parcel, name: str, readme: str) -> dict[str, bytes]:
    """Return the files that `ganlab.load` reads, and a README."""
    return {
        name: weights(parcel.model),
        "config.yaml": to_yaml(kept(parcel.config)).encode(),
        "README.md": readme.encode(),
    }


def described(parcel: Parcel) -> bytes:
    """Return the Hub's config.json, by which it counts downloads."""
    model = parcel.model
    facts = {
        "library_name": "ganlab",
        "ganlab_version": version("ganlab"),
        "model": type(model).__name__,
        "nimg": model.clock.nimg,
        "image": asdict(model.image),
    }
    return (json.dumps(facts, indent=2) + "\n").encode()


def as_page(parcel: Parcel, runtime: Path | None) -> dict[str, bytes]:
    """Return a page with what lies beside it, and the README of a static Space."""
    from ganlab.portable import page

    model = in_float32(parcel.model)
    functions = page.check(model, functions_of(model))
    graphs = {f"{each.name}.onnx": with_half_weights(as_onnx(model, each, parcel.about)) for each in functions}
    readme = card.with_front(card.front_of_space(parcel), card.card(parcel, "page", []))
    files = {"index.html": page.page(parcel, functions, graphs, runtime).encode(), "README.md": readme.encode()}
    return files | (graphs if runtime is None else {})


def next_step(out: Path, form: Form, runtime: Path | None) -> list[str]:
    """Return what to do with a folder that is made for the public."""
    folder, name = shlex.quote(str(out)), re.sub(r"[^\w.-]+", "-", out.resolve().name, flags=re.ASCII)
    if form == "hub":
        return [f"to publish it: hf upload USER/{name} {folder}"]
    if form == "page":
        index = shlex.quote(str(out / "index.html"))
        look = f"open {index} in a browser" if runtime else f"python -m http.server --directory {folder}"
        return [f"to look at it: {look}", f"to publish it: hf upload USER/{name} {folder} --repo-type space"]
    return []
