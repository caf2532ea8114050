"""A page that runs a model in its visitor's browser, by onnxruntime-web: no server, no Python."""

import base64
import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganlab.engine.game import Game
from ganlab.pages.templates import hash_of, render, text_of
from ganlab.portable.functions import Function, truncation_of
from ganlab.portable.parcel import Parcel
from ganlab.priors import Normal, Uniform
from ganlab.seeding import Noise
from ganlab.types import Labels, Latents, UserError

SEEDS = 64
"""Seeds whose latents the page holds: a browser cannot draw ours."""
PACKAGE = "onnxruntime-web@1.30.0"
CDN = f"https://cdn.jsdelivr.net/npm/{PACKAGE}/dist/"
RUNTIME = {
    "ort.wasm.bundle.min.mjs": "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    "ort-wasm-simd-threaded.wasm": "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
"""Files of the runtime that a page needs, and the hashes of their bytes in the npm package."""
SHOWN = ("generator", "translator", "other_translator")
"""Functions that a page can show."""


def page(parcel: Parcel, functions: list[Function], graphs: Mapping[str, bytes], runtime: Path | None) -> str:
    """Return the page.

    Args:
        parcel: the model.
        functions: those that `check` returned.
        graphs: their ONNX files by name.
        runtime: folder of onnxruntime-web, which the page then holds together with the graphs, in one file that opens
            offline; None fetches the runtime of that version from a CDN, and the graphs from beside the page.
    """
    script, style = text_of("sampler.js"), text_of("style.css") + text_of("sampler.css")
    inlined = {} if runtime is None else {**runtime_in(runtime), **graphs}
    fetched = {} if inlined else {name: {"url": CDN + name, "integrity": RUNTIME[name]} for name in RUNTIME}
    if not inlined:
        fetched |= {name: {"url": name, "integrity": integrity_of(graph)} for name, graph in graphs.items()}
    sources = f"'self' {CDN}" if fetched else "'none'"
    policy = (
        f"default-src 'none'; script-src {hash_of(script)} 'wasm-unsafe-eval' blob:; style-src {hash_of(style)}; "
        f"img-src data:; connect-src {sources}; base-uri 'none'; form-action 'none'"
    )
    return render(
        "sampler.html",
        title=parcel.name,
        parcel=parcel,
        model=parcel.model,
        policy=policy,
        script=script,
        style=style,
        facts=facts_of(parcel.model, functions, fetched),
        inlined={name: packed(data) for name, data in inlined.items()},
    )


def check(model: Game, functions: list[Function]) -> list[Function]:
    """Return the functions that a page shows: a generator alone, or translators; `UserError` if there are none."""
    shown = [function for function in functions if function.name in SHOWN]
    if model.image.is_point or not shown:
        made = "points" if model.image.is_point else "no images"
        raise UserError(f"--format page: {type(model).__name__} makes {made}; --format onnx has its functions")
    return shown[:1] if shown[0].name == "generator" else shown


def facts_of(model: Game, functions: list[Function], fetched: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page's script reads."""
    image, given = model.image, model.inputs[-1]
    facts: dict[str, Any] = {
        "functions": [{"name": each.name, "file": f"{each.name}.onnx", "output": each.output} for each in functions],
        "runtime": list(RUNTIME),
        "fetched": dict(fetched),
        "input": [given.channels, given.height, given.width],
    }
    if functions[0].name == "generator":
        latents, labels, shares = seeds_of(model)
        classes = list(image.class_names or map(str, range(image.classes))) if model.classes else []
        facts |= {
            "latent": model.latent,
            "latents": as_text(latents),
            "shares": as_text(shares) if truncation_of(model) == "latents" else None,
            "truncation": truncation_of(model),
            "labels": labels.tolist(),
            "classes": classes,
            "numbers": [number_of(model, seed) for seed in range(SEEDS)],
            "prior": prior_of(model),
        }
    return facts


def number_of(model: Game, seed: int) -> int:
    """Return the number of the image that stands for a seed: 0, unless the images of one seed have an order."""
    return seed % (model.columns or 1)


def seeds_of(model: Game) -> tuple[Latents, Labels, Tensor]:
    """Return what `ganlab sample` draws for one image of each seed: latents [SEEDS, d], labels [SEEDS], and the
    uniform numbers [SEEDS, d] that replace latents beyond a truncation."""
    drawn = list[tuple[Tensor, ...]]()
    for seed in range(SEEDS):
        noise = Noise(seed, 0, number_of(model, seed), dtype=torch.float32)
        drawn.append((*model.draw_latents(1, noise, "sample"), noise.uniform("sample truncation", 1, model.latent)))
    latents, labels, shares = (torch.cat(each) for each in zip(*drawn, strict=True))
    return latents, labels, shares


def as_text(tensor: Tensor) -> str:
    """Return float32 numbers as base64."""
    return base64.b64encode(tensor.float().contiguous().numpy().tobytes()).decode()


def prior_of(model: Game) -> dict[str, Any] | None:
    """Return the distribution from which a browser may draw other latents, as it cannot redraw ours; None for none."""
    match model.prior:
        case Normal(std=std):
            return {"normal": std}
        case Uniform(low=low):
            return {"uniform": [low, 1.0]}
        case None if model.normal:
            return {"normal": 1.0}
    return None


def runtime_in(folder: Path) -> dict[str, bytes]:
    """Read the runtime from the npm package in a folder, or from its `dist`."""
    dist = folder / "dist" if (folder / "dist").is_dir() else folder
    if missing := [name for name in RUNTIME if not (dist / name).is_file()]:
        raise UserError(
            f"--runtime {folder}: has no {missing[0]}; give the folder node_modules/onnxruntime-web that "
            f"`npm install {PACKAGE}` makes"
        )
    return {name: (dist / name).read_bytes() for name in RUNTIME}


def packed(data: bytes) -> str:
    """Compress a file into text, the same every time."""
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def integrity_of(data: bytes) -> str:
    """Return the hash that a browser compares a fetched file with."""
    return f"sha384-{base64.b64encode(hashlib.sha384(data).digest()).decode()}"
