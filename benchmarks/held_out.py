"""Handwritten digits, part of them held out, and a loop that trains a shipped config on the others."""

from pathlib import Path

import torch
from torch import Tensor

from ganlab.commands.demo import packed, write_source
from ganlab.data.make.pack import pack
from ganlab.engine.game import Game
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load

REPOSITORY = Path(__file__).resolve().parents[1]
HELD_OUT = 360
"""Of the 1,797 digits."""


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Floats in [-1, 1] and labels, of the digits for training and of those held out; packed where `make demo` does."""
    folder = REPOSITORY / "data" / "digits"
    if not folder.exists():
        write_source(folder.with_suffix(".npz"))
        pack(str(folder.with_suffix(".npz")), folder, size=16)
    images, labels = packed(str(folder))
    floats, classes = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1, torch.from_numpy(labels)
    return (floats[HELD_OUT:], classes[HELD_OUT:]), (floats[:HELD_OUT], classes[:HELD_OUT])


def model_of(config: str, seed: int, *changes: str) -> tuple[Game, int, int]:
    """The untrained model of a shipped config, the number of its rounds, and their batch."""
    values = load(REPOSITORY / "configs" / config, [f"seed={seed}", *changes])
    model = build_model(values)
    batch = values.train.batch or model.BATCH
    return model, values.train.total_nimg // batch, batch


def train(
    model: Game, rounds: int, images: Tensor, labels: Tensor, batch: int, other: tuple[Tensor, Tensor] | None = None
) -> Game:
    """Make some rounds on images in a random order, epoch after epoch; perhaps with another stream, drawn at random."""
    model.configure_optimizers()
    draw, order = torch.Generator().manual_seed(model.runtime.seed), torch.empty(0, dtype=torch.int64)
    for number in range(rounds):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(len(images), generator=draw)])
        rows, order = order[:batch], order[batch:]
        reals = {"real": images[rows], "labels": labels[rows]}
        if other is not None:
            some = torch.randint(len(other[0]), (batch,), generator=draw)
            reals |= {"other": other[0][some], "other_labels": other[1][some]}
        model.training_step(reals, number)
    model.settle()
    return model.eval()
