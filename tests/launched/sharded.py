"""Plays every case sharded and not, tries what a shard might get wrong, and leaves the findings in a folder.

Usage: sharded.py SHARDS CONFIG OUT, with the shards of `parity.pack_noise`. On two processes.
"""

import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import forks
import torch
from games import destroy
from parity import CASES, TOYS, config_of, game, part, penalty, play
from torch.distributed.tensor import DTensor

from ganlab import distributed
from ganlab.commands.train import train
from ganlab.engine import sharding
from ganlab.engine.game import Game
from ganlab.engine.player import Seat
from ganlab.experiment.config import load
from ganlab.experiment.frame import Config

MORE: dict[str, dict[str, object]] = {
    "decaying weights": {
        "model": game()
        | {"optimizers": dict.fromkeys(("generator", "discriminator"), part("torch.optim.AdamW", lr=1e-3))}
    },
    "every logit with its gradient": {
        "model": game(regularizers=penalty("R1", weight=1.0) | penalty("R2", weight=1.0, every=2))
    },
    "spectral norm, penalties and micro-batches": {
        "model": game(
            None,
            {"spectral": True},
            regularizers=penalty("R1", weight=1.0) | penalty("GradientPenalty", weight=1.0, every=2),
        ),
        "micro_batch": 4,
    },
    "a weight in two places, a single number": {
        "model": game() | {"discriminator": part("toys.Tied"), "regularizers": penalty("R1", weight=1.0)}
    },
}

COMMON = (
    "plain",
    "spectral norm",
    "gradient penalty",
    "R1",
    "batch norm over the batch",
    "unequal players",
    "micro-batches",
    "growing through two fades",
    "DCGAN",
    *(name for name in TOYS if name != "remembering"),  # whose RMSprop `machine.shard` refuses
)
GAMES = {f"{name}, fp64": (case, "fp64") for name, case in ({at: CASES[at] for at in COMMON} | MORE).items()} | {
    f"DCGAN, {precision}": (CASES["DCGAN"], precision) for precision in ("bf16", "fp16")
}


def sharded(config: Config) -> Config:
    return replace(config, machine=replace(config.machine, shard=True))


def shapes(model: Game) -> dict[str, list[tuple[torch.Size, torch.Size, int]]]:
    """Of each network's parameters, and the players' gradients and moments: the shape, what is here, and its memory."""
    held: dict[str, list[Any]] = {
        name: list(getattr(model, name).parameters()) for name in (*model.networks, *model.average_names.values())
    }
    for name, seat in model.seats.items():
        held[f"{name}'s gradients"] = [p.grad for p in seat.network.parameters() if p.grad is not None]
        held[f"{name}'s moments"] = [
            value for state in seat.optimizer.state.values() for at, value in state.items() if at != "step"
        ]
    return {
        name: [
            (value.shape, here.shape, here.untyped_storage().nbytes() // here.element_size())
            for value, here in zip(values, sharding.local(values), strict=True)
        ]
        for name, values in held.items()
    }


def cut_again(model: Game) -> bool:
    """Whether the moments, made whole, are cut into what this rank holds of them."""
    return all(
        type(value) is type(again[at]) and torch.equal(*sharding.local([value, again[at]]))
        for seat in model.seats.values()
        for share, state in seat.optimizer.state.items()
        for again in [sharding.share_of({at: full(value) for at, value in state.items()}, share)]
        for at, value in state.items()
    )


def full(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def struck(seat: Seat, infinite: bool) -> dict[str, Any]:
    """Make a step towards smaller weights, a gradient of rank 1's share infinite or not."""
    network = seat.network.requires_grad_()
    before = {name: value.to_local().clone() for name, value in network.named_parameters()}
    sharding.gather(network)
    seat.begin(0)
    seat.gradients.clear()
    weights = dict(network.named_parameters())
    seat.backward(torch.stack([weight.square().sum() for weight in weights.values()]).sum(), last=True)
    victim = max(weights, key=lambda name: len(weights[name]))
    if infinite and distributed.rank() == 0:
        weights[victim].grad[-1] = float("inf")
    seat.gradients.finish()
    found = seat.update()
    sharding.release(network)
    return {
        "victim": victim,
        "masked": found["not_finite"].item(),
        "culprits": seat.read_culprits(),
        "moved": sorted(
            name for name, value in network.named_parameters() if not torch.equal(value.to_local(), before[name])
        ),
        "finite here": all(bool(value.grad.to_local().isfinite().all()) for value in network.parameters()),
        "steps": {int(state["step"]) for state in seat.optimizer.state.values()},
    }


def runs(path: str, out: Path) -> None:
    """Half a run sharded and half a one that is not; each goes on as the other."""
    half = {
        name: load(path, [f"run={out / name}", "train.total_nimg=720", f"machine.shard={name == 'sharded'}"])
        for name in ("sharded", "plain")
    }
    for config in half.values():
        assert train(config) == 0
    distributed.barrier()
    if distributed.rank() == 0:
        for name in half:
            shutil.copytree(out / name, out / f"{name}, then the other")
        shutil.copytree(out / "sharded", out / "sharded, then one process")
    distributed.barrier()
    for name in half:
        run = f"run={out / f'{name}, then the other'}"
        assert train(load(path, [run, f"machine.shard={name == 'plain'}"])) == 0


def main(shards: str, path: str, out: str) -> None:
    found: dict[str, Any] = {"weights": {}, "shapes": {}}
    for name, (case, precision) in GAMES.items():
        config = config_of(case, shards, precision)
        found["weights"][name] = play(config).state_dict()
        model = play(sharded(config))
        found["shapes"][name] = shapes(model)
        found["weights"][f"{name}, sharded"] = sharding.whole_values(model.state_dict())
        found["cut again"] = found.get("cut again", True) and cut_again(model)
        if name == "decaying weights, fp64":
            found["struck"] = {
                at: [struck(seat, infinite) for infinite in (True, False)] for at, seat in model.seats.items()
            }
        if name == "spectral norm, fp64":
            found["differing"] = [distributed.differing(model.state_dict().items())]
            model.discriminator.last.parametrizations.weight[0].u.add_(distributed.rank())
            found["differing"].append(distributed.differing(model.state_dict().items()))
    runs(path, Path(out))
    torch.save(found, Path(out) / f"{distributed.rank()}.pt")
    destroy()


if __name__ == "__main__":
    sys.exit(any(forks.finish(*forks.job(2, partial(main, *sys.argv[1:])))))
