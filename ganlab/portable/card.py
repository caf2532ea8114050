"""The README of an exported folder: what the model is, how to use it, what was measured of it."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from torch import Tensor

from ganlab.classes import named
from ganlab.engine.game import Game
from ganlab.evaluation.results import error
from ganlab.portable.functions import Function
from ganlab.portable.parcel import Parcel

NAMED = 100
"""Largest number of classes that are listed."""
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}
TASK = {True: "unconditional-image-generation", False: "image-to-image"}
"""The Hub's words for what a model does, by whether it makes images of latents."""
RUNTIMES = {
    "onnx": "Any ONNX runtime runs {files}: `pip install onnxruntime`.",
    "pt2": "PyTorch alone runs {files}, graphs of `torch.export`.",
}
ON_PAGE = ["`index.html` runs it in a visitor's browser: no server takes part, and nothing is sent anywhere."]


def card(parcel: Parcel, form: str, functions: list[Function]) -> str:
    """Return the README; `functions` are those in the folder, if the form has graphs."""
    usage = with_graphs(form, functions) if functions else ON_PAGE if form == "page" else with_ganlab(parcel)
    if form == "hub":
        usage = [f"`hf download USER/NAME --local-dir {shlex.quote(parcel.name)}` fetches this folder.", *usage]
    sections = [
        f"# {parcel.name}",
        described(parcel.model),
        *usage,
        terms(parcel.licence),
        *[f"![samples](samples.png)\n\nOf seed 0: {parcel.where}."] * (parcel.sheet is not None),
        *measured(parcel),
        *classes(parcel.model),
    ]
    return "\n\n".join(sections) + "\n"


def described(model: Game) -> str:
    """Say what a model makes, and of how many images it learned."""
    image = model.image
    of = "" if model.latent else " of other images"
    size = f"{image.height}x{image.width} px (height x width), {COLOURS.get(image.channels, 'points')}"
    return (
        f"The averaged generator of {type(model).__name__} after {model.clock.nimg:,} training images. It makes "
        f"images{of} of {size}."
    )


def terms(licence: str | None) -> str:
    """Say under which licence the model may be used."""
    if licence is None:
        return "What it was trained on, and under which licence it may be used, is for its author to say here."
    return f"Licence: {licence}. What it was trained on is for its author to say here."


def with_ganlab(parcel: Parcel) -> list[str]:
    """Return how ganlab uses the folder."""
    needs = f", but it needs classes of {', '.join(parcel.trust)}" if parcel.trust else ""
    return [
        f"To use it, install ganlab; nothing in this folder can run code{needs}.",
        "```sh\n" + "\n".join(commands(parcel)) + "\n```",
        code(parcel),
    ]


def commands(parcel: Parcel) -> list[str]:
    """Return examples of the command line."""
    model, trusted = parcel.model, [word for prefix in parcel.trust for word in ("--trust", prefix)]
    command = shlex.join(["ganlab", "sample", parcel.name, *trusted])
    examples = list[str]()
    if model.latent:
        examples += [f"{command} -n 64 --seed 1 --out grid.png", f"{command} --images 5,10-12 --each --out pictures"]
    if model.latent and model.classes:
        some = ",".join(named(k, model.image.class_names) for k in range(min(model.classes, 2)))
        examples.append(f"{command} --labels {shlex.quote(some)} --out classes.png")
    if model.remakes():
        examples.append(f"{command} --from IMAGES -n 8 --out made.png")
    return examples


def code(parcel: Parcel) -> str:
    """Return the example in Python."""
    model, image = parcel.model, parcel.model.image
    trusted = f", trust={list(parcel.trust)!r}" if parcel.trust else ""
    loaded = f"ganlab.load({parcel.name!r}{trusted})"
    labels = f", labels=[{image.class_names[0]!r}]" if model.classes and image.class_names else ""
    shape = f"[16, {image.channels}, {image.height}, {image.width}]"
    made = f"images = {loaded}.sample(16, seed=0{labels})  # uint8 {shape}"
    if not model.latent:
        made = f"parts = {loaded}.remake(images)  # uint8 {shape} to such images by title"
    return f"```python\nimport ganlab\n\n{made}\n```"


def with_graphs(form: str, functions: list[Function]) -> list[str]:
    """Return how a runtime uses the graphs; images are in [-1, 1]."""
    files = ", ".join(f"`{each.name}.{form}`" for each in functions)
    first, sizes = functions[0], [f"- `{each.name}`: {signature(each)}" for each in functions]
    inputs = {name: example(name, tensor) for name, tensor in first.inputs.items()}
    fed = ", ".join(f'"{name}": {value}' for name, value in inputs.items())
    lines = ["import numpy as np", "", "rng = np.random.default_rng(0)"]
    if form == "onnx":
        lines.insert(1, "import onnxruntime")
        lines += [
            f'session = onnxruntime.InferenceSession("{first.name}.onnx")',
            f"({first.output},) = session.run(None, {{{fed}}})",
        ]
    else:
        lines.insert(1, "import torch")
        lines += [
            f'function = torch.export.load("{first.name}.pt2").module()',
            f"{first.output} = function({', '.join(f'torch.tensor({value})' for value in inputs.values())})",
        ]
    return [
        f"{RUNTIMES[form].format(files=files)} Images are float32 in [-1, 1], n of any size:",
        "\n".join(sizes),
        "```python\n" + "\n".join(lines) + "\n```",
    ]


def example(name: str, tensor: Tensor) -> str:
    """Write code that makes an input of four samples."""
    if name == "truncation":
        return "np.float32([0.7])"
    if not tensor.is_floating_point():
        return "np.arange(4) % 2"
    return f"rng.standard_normal((4, {', '.join(map(str, tensor.shape[1:]))})).astype(np.float32)"


def signature(function: Function) -> str:
    """Write the shapes of a function's inputs."""
    given = [
        f"{name} [{', '.join(['n' if name != 'truncation' else '1', *map(str, each.shape[1:])])}]"
        for name, each in function.inputs.items()
    ]
    return f"{', '.join(given)} to {function.output}"


def measured(parcel: Parcel) -> Iterator[str]:
    """Return the table of results, if there are some."""
    if parcel.results:
        rows = [f"| {row['name']} | {row['value']:.4g} | {error(row)} | {floor(row)} |" for row in parcel.results]
        yield (
            "Measured by ganlab; a name says the protocol, the floor is what real images reach:\n\n"
            "| value | | standard error | floor |\n|---|---|---|---|\n" + "\n".join(rows)
        )


def floor(row: Mapping[str, Any]) -> str:
    """Return what real images reach, as text."""
    return "" if row["floor"] is None else f"{row['floor']:.4g}"


def classes(model: Game) -> list[str]:
    """Return the list of classes, if there are any."""
    if not model.classes:
        return []
    if model.image.class_names and model.classes <= NAMED:
        return ["Classes:\n\n" + "\n".join(f"{k}. {name}" for k, name in enumerate(model.image.class_names))]
    names = "; the configuration or the file's metadata names them" if model.image.class_names else ""
    return [f"Classes: 0 to {model.classes - 1}{names}."]


def with_front(matter: dict[str, Any], text: str) -> str:
    """Put front matter before a README."""
    return f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)}---\n\n{text}"


def front_of_card(parcel: Parcel) -> dict[str, Any]:
    """Return a model card's front matter, as the Hugging Face Hub reads it, with the results by their protocols."""
    task = {"type": TASK[bool(parcel.model.latent)]}
    by_reals: dict[str, list[dict[str, Any]]] = {}
    for row in parcel.results:
        metric = {"type": row["metric"], "value": row["value"], "name": row["name"]}
        by_reals.setdefault(row["protocol"].get("reals", "samples alone"), []).append(metric)
    found = [
        {"task": task, "dataset": {"type": reals, "name": reals}, "metrics": metrics}
        for reals, metrics in by_reals.items()
    ]
    return {
        "library_name": "ganlab",
        "license": parcel.licence,
        "pipeline_tag": task["type"],
        "tags": ["gan", type(parcel.model).__name__.lower()],
    } | ({"model-index": [{"name": parcel.name, "results": found}]} if found else {})


def front_of_space(parcel: Parcel) -> dict[str, Any]:
    """Return the front matter of a static Space."""
    return {"title": parcel.name, "sdk": "static", "license": parcel.licence}
