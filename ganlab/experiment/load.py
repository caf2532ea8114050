"""`ganlab.load`: the model of a run's folder or of an exported one, which may come from somebody else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ganlab.engine.game import Game
from ganlab.engine.samples import AVERAGE
from ganlab.experiment import checkpoints
from ganlab.experiment.build import build_model
from ganlab.experiment.checkpoints import exported
from ganlab.experiment.config import from_saved, from_yaml
from ganlab.experiment.frame import Config
from ganlab.types import UserError


def load(run: Path | str, trust: Sequence[str] = ()) -> Game:
    """Load a run's newest checkpoint, or an exported one, onto the CPU, ready to `sample` and to `remake` images.

    `ganlab.load("runs/digits-dcgan").sample(16, seed=0)` gives uint8 images [16, c, h, w], and `sample([37], seed=0)`
    image 37 of that seed; `labels=["cat", 3]` names classes.

    Args:
        run: a run's folder, or an exported one.
        trust: packages whose classes the run may name besides ganlab's and torch's; a folder cannot grant itself trust.

    Only the model is built, and only from the kinds of parts that a model has: none of them reads a file, except
    frozen features, whose weights are read as data.
    """
    run = Path(run).expanduser()
    if (weights := exported(run)) is not None:
        model = build_model(from_yaml(run / "config.yaml", trust))
        model.clock.nimg, averages = read_exported(weights, next(iter(model.averages)))
        for network, at in model.average_names.items():  # a growing generator runs at the size of that time
            getattr(model, at).load_state_dict(averages[network])
        return model.eval()
    checkpoint = newest_checkpoint(run)
    return restored(checkpoint, from_saved(checkpoint["config"], str(run), trust))


def read_exported(file: Path, first: str) -> tuple[int, dict[str, dict[str, Tensor]]]:
    """Read the images that exported averages were shown, and their weights by the names of their networks.

    `first` is the network whose average has no name in the file: a generator, most often alone.
    """
    averages: dict[str, dict[str, Tensor]] = {first: {}}
    with safe_open(file, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118 (no dict)
            average, _, rest = name.partition(".")
            named = average.endswith(AVERAGE)
            network, key = (average.removesuffix(AVERAGE), rest) if named else (first, name)
            averages.setdefault(network, {})[key] = opened.get_tensor(name)
        return int(opened.metadata()["nimg"]), averages


def restored(checkpoint: dict[str, Any], config: Config) -> Game:
    """Make the model of a checkpoint that has been read, and of its config, onto the CPU, ready to `sample`."""
    model = build_model(config)
    model.load_state_dict(checkpoint["state_dict"])
    model.on_load_checkpoint(checkpoint)
    return model.eval()


def newest_checkpoint(run: Path) -> dict[str, Any]:
    """Read the newest checkpoint of a run."""
    newest = checkpoints.newest(run / "checkpoints")
    if newest is None and exported(run) is not None:
        raise UserError(f"{run}: an exported folder, which has no checkpoints; give the run that it was exported from")
    if newest is None and (run / "config.yaml").exists():
        raise UserError(
            f"{run}: has no checkpoint yet: the first one comes after a minute of training, the others every "
            "train.checkpoint_every_nimg images; Ctrl-C saves one too"
        )
    if newest is None:
        raise UserError(f"{run}: holds no checkpoint; give the folder of a run, such as runs/digits-dcgan")
    return newest[1]
