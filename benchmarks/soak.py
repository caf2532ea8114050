"""Kill a run of every shipped model again and again, resume it, and compare its end with an undisturbed run's.

Each config is shrunk to 16 px and to networks 8 wide, on random images; the processes are real, and so is SIGKILL.
Prints a table: the model, the kills, how many of them left a half-written checkpoint, and whether all that training
goes on from (weights, averages, buffers, optimizers, clock) is the same, bit for bit.
"""

import inspect
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "launched"))

from killed import undisturbed_and_killed  # noqa: E402

from ganlab.data.make.pack import pack  # noqa: E402
from ganlab.experiment.checkpoints import newest  # noqa: E402
from ganlab.experiment.config import load  # noqa: E402
from ganlab.experiment.frame import Config  # noqa: E402
from ganlab.experiment.targets import resolve  # noqa: E402

SIZE, IMAGES, BATCH = 16, 240, 16
SMALL = dict.fromkeys(("width", "generator_width", "discriminator_width", "width_max", "latent"), 8)
SMALL |= {"train_nimg": 100 * BATCH, "fade_nimg": 100 * BATCH}
STEPS_PER_KILL, LEAST_STEPS = 10, 100
COMPARED = ("state_dict", "optimizer_states", "ganlab")


def shipped() -> list[Path]:
    """Every config that trains something."""
    return sorted(path for path in (REPOSITORY / "configs").glob("*/*.yaml") if path.parent.name != "machine")


def pack_noise(config: Config, folder: Path) -> Path:
    """Pack random images of the config's channels and classes."""
    image = config.data.image
    assert image is not None, "declare data.image"
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, image.channels), np.uint8)
    labels = {"labels": np.arange(IMAGES) % image.classes} if image.classes else {}
    np.savez(folder / "source.npz", images=pixels[..., 0] if image.channels == 1 else pixels, **labels)
    pack(folder / "source.npz", folder / "shards", size=SIZE, shard_samples=100)
    return folder / "shards"


def smaller(part: Any, key: str) -> Iterator[str]:
    """Yield the overrides that shrink a part and the parts within."""
    if isinstance(part, dict):
        if "_target_" in part:
            takes = inspect.signature(resolve(part["_target_"], object, ["ganlab", "torch"])).parameters
            yield from (f"{key}.{name}={value}" for name, value in SMALL.items() if name in takes)
        for name, inner in part.items():
            yield from smaller(inner, f"{key}.{name}")


def shrinking(config: Config, folder: Path, kills: int) -> list[str]:
    """Return the overrides that make a short run of a small model."""
    return [
        *smaller(config.as_dict()["model"], "model"),
        f"data.url={pack_noise(config, folder)}",
        f"data.image={{height: {SIZE}, width: {SIZE}}}",
        f"train.batch={BATCH}",
        f"train.total_nimg={max(LEAST_STEPS, STEPS_PER_KILL * kills) * BATCH}",
        f"train.tick_nimg={2 * BATCH}",
        f"train.checkpoint_every_nimg={3 * BATCH}",
        f"train.sample_every_nimg={200 * BATCH}",
        "machine.device=cpu",
        "machine.threads=1",
        "logging.wandb=disabled",
    ]


def differing(ours: Any, theirs: Any, name: str = "") -> list[str]:
    """Return the places at which two nests of plain values and tensors are not the same, bit for bit."""
    if isinstance(ours, torch.Tensor):
        same = isinstance(theirs, torch.Tensor) and ours.dtype == theirs.dtype and torch.equal(ours, theirs)
        return [] if same else [name]
    if type(ours) is not type(theirs):
        return [name]
    if isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            return [name]
        return [place for key in ours for place in differing(ours[key], theirs[key], f"{name}/{key}")]
    if isinstance(ours, list | tuple):
        if len(ours) != len(theirs):
            return [name]
        return [
            place for i, pair in enumerate(zip(ours, theirs, strict=True)) for place in differing(*pair, f"{name}/{i}")
        ]
    return [] if ours == theirs else [name]


def end_of(run: Path) -> dict[str, Any]:
    """Read the last checkpoint of a run."""
    found = newest(run / "checkpoints")
    assert found is not None, f"{run}: no checkpoint"
    return {key: found[1][key] for key in COMPARED}


@click.command()
@click.argument("configs", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--kills", default=100, show_default=True, type=click.IntRange(min=1), help="Of each model's run.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def soak(configs: tuple[Path, ...], kills: int, seed: int) -> None:
    """Print the table, of all shipped CONFIGS unless some are named; end with 1 if a run was not the same."""
    print("| config | kills | of them in a checkpoint's writing | bit-identical |\n|---|---|---|---|", flush=True)
    all_same = True
    for path in [path.resolve() for path in configs] or shipped():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            made = undisturbed_and_killed(path, shrinking(load(path), folder, kills), folder, kills, seed)
            places = differing(end_of(folder / "undisturbed"), end_of(folder / "killed"))
        said = f"no: {', '.join(places[:3])}" if places else "yes"
        torn = sum(any(file.startswith("nimg-") for file in kill.torn) for kill in made)
        print(f"| {path.relative_to(REPOSITORY / 'configs')} | {len(made)} | {torn} | {said} |", flush=True)
        all_same = all_same and not places
    sys.exit(not all_same)


if __name__ == "__main__":
    soak()
