"""The verbs `sample` and `export`, and `ganlab.load`: images from a finished or unfinished run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from ganlab.experiment import checkpoints
from ganlab.experiment.build import build_model
from ganlab.experiment.config import from_dict, from_yaml, to_yaml
from ganlab.files import atomic_write
from ganlab.models import GANModule
from ganlab.pictures.grids import grid, grid_by_class, to_pil
from ganlab.pictures.tiles import save_png
from ganlab.types import UserError

GENERATOR = "generator.safetensors"
COLUMNS = 8


def load(run: Path | str, trust: Sequence[str] = ()) -> GANModule:
    """Load a run's newest checkpoint, or what `ganlab export` made of one, onto the CPU, ready to `sample`.

    `ganlab.load("runs/digits-dcgan").sample(16, seed=0)` gives uint8 images [16, c, h, w].

    Args:
        run: a run's folder, or an exported one.
        trust: packages whose classes the run may name besides ganlab's and torch's: a folder that somebody sent you
            cannot grant itself trust.
    """
    run = Path(run)
    if (run / GENERATOR).exists():
        model = build_model(from_yaml(run / "config.yaml", trust))
        with safe_open(run / GENERATOR, "pt") as file:
            model.ema.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (no dict)
            model.clock.nimg = int(file.metadata()["nimg"])  # a generator that grows works at the size of its time
        return model.eval()
    checkpoint = newest_checkpoint(run)
    model = build_model(from_dict({**checkpoint["config"], "trust": list(trust)}, str(run)))
    model.load_state_dict(checkpoint["state_dict"])
    model.on_load_checkpoint(checkpoint)
    return model.eval()


def newest_checkpoint(run: Path) -> dict[str, Any]:
    """Read the newest checkpoint of a run."""
    newest = checkpoints.newest(run / "checkpoints")
    if newest is None:
        raise UserError(f"{run}: holds no checkpoint; give the folder of a run, such as runs/digits-dcgan")
    return newest[1]


def sample(
    run: Path, n: int, *, seed: int, out: Path | None, each: bool, labels: Sequence[int] | None, trust: Sequence[str]
) -> Path:
    """Write a grid of `n` samples, a row for each of several labels, or with `each` a folder of PNGs; return where."""
    model = load(run, trust)
    out = out or run / (f"samples-seed-{seed}" if each else f"samples-seed-{seed}.png")
    images = model.sample(n, seed, labels)
    try:
        if each:
            out.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(images):
                save_png(to_pil(image), out / f"{number:06d}.png")
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            rows = len(labels or ())
            save_png(grid_by_class(images, rows) if rows > 1 else grid(images, COLUMNS), out)
    except OSError as error:
        raise UserError(f"{out}: cannot write there: {error.strerror}; choose another place with --out") from None
    return out


def export(run: Path, out: Path, trust: Sequence[str]) -> None:
    """Write the averaged generator as safetensors beside the config that builds it: nothing there can run code."""
    checkpoint = newest_checkpoint(run)
    weights = {
        name.removeprefix("ema."): tensor.contiguous()
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith("ema.")
    }
    config = from_dict({**checkpoint["config"], "trust": list(trust)}, str(run))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / GENERATOR) as file:
            file.write(save(weights, {"nimg": str(checkpoint["ganlab"]["clock"]["nimg"])}))
        with atomic_write(out / "config.yaml") as file:
            file.write(to_yaml(config).encode())
    except OSError as error:
        raise UserError(f"{out}: cannot write there: {error.strerror}; choose another folder with --out") from None
