"""Starting a run from the networks of another one."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganlab.engine.game import Game
from ganlab.experiment import checkpoints
from ganlab.experiment.checkpoints import exported
from ganlab.experiment.load import read_exported
from ganlab.files import sha256_of
from ganlab.types import UserError


@dataclass(frozen=True)
class Origin:
    """What a run started from, and what did not fit."""

    path: str
    """The checkpoint, or the exported generator."""
    sha256: str
    nimg: int
    copied: int
    """Tensors of live networks whose values were taken."""
    left_out: tuple[str, ...]
    """One line for each tensor of another shape, and for each module that only one of the two runs has."""

    def lines(self) -> Iterator[str]:
        """Say it to a person."""
        yield f"starting from {self.path}, {self.nimg:,} images: {self.copied} tensors fit"
        yield from (f"  {line}" for line in self.left_out)


def take_weights(model: Game, run: Path) -> Origin:
    """Copy the live networks and averages of another run that fit those of `model`, by name and shape.

    An average that the other run does not have starts from its live network, and the live network of an exported
    folder from the average that it holds. `model` must not be seated yet.

    Args:
        model: the new run's.
        run: a run's folder, of which the newest checkpoint is taken, or an exported one.

    Raises:
        UserError: the folder holds neither, or nothing in it fits.
    """
    first = next(iter(model.averages))
    path, sha256, nimg, theirs = _read(run.expanduser(), first)
    own = model.state_dict()
    live = {name: tensor for name, tensor in own.items() if name.split(".")[0] in model.networks}
    fits = {name for name, tensor in live.items() if name in theirs and theirs[name].shape == tensor.shape}
    if not fits:
        raise UserError(f"{path}: no tensor of it fits this model; give --from a run of a like model")
    with torch.no_grad():
        for name in fits:
            own[name].copy_(theirs[name])
            network, _, rest = name.partition(".")
            if network in model.average_names:
                average = f"{model.average_names[network]}.{rest}"
                own[average].copy_(theirs.get(average, theirs[name]))
    networks = {name.split(".")[0] for name in theirs} - {*model.average_names.values(), "loss_scales"}
    others = {name for name in theirs if name.split(".")[0] in networks}
    left_out = [
        f"{name}: {tuple(theirs[name].shape)} there, {tuple(live[name].shape)} here; drawn anew"
        for name in live
        if name in theirs and name not in fits
    ]
    left_out += [f"{name}: not there; drawn anew" for name in _modules(live.keys() - theirs.keys(), live)]
    left_out += [f"{name}: not here; left out" for name in _modules(others - live.keys(), others)]
    return Origin(str(path), sha256, nimg, len(fits), tuple(left_out))


def _read(run: Path, first: str) -> tuple[Path, str, int, dict[str, Tensor]]:
    """Return the file of a run's weights, its sha256, the images shown, and the weights by name."""
    if (path := exported(run)) is not None:
        nimg, averages = read_exported(path, first)
        weights = {f"{at}.{name}": tensor for at, average in averages.items() for name, tensor in average.items()}
        return path, sha256_of(path), nimg, weights
    if (found := checkpoints.newest(run / "checkpoints")) is None:
        raise UserError(f"{run}: holds no checkpoint to start from; give --from the folder of a run that has saved one")
    path, saved = found
    choice = checkpoints.choice_of(path, saved)
    return path, choice.sha256, choice.nimg, saved["state_dict"]


def _modules(names: Collection[str], everyone: Collection[str]) -> list[str]:
    """Return the largest modules all of whose tensors are among `names`, instead of each tensor's name."""
    kept = [name for name in everyone if name not in names]
    found = dict[str, None]()
    for name in sorted(names):
        parts = name.split(".")
        prefixes = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
        found[next(p for p in prefixes if p == name or not any(k.startswith(f"{p}.") for k in kept))] = None
    return list(found)
