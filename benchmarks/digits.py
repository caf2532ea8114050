"""scikit-learn's digits at 16 px, split into training images and held-out ones, and runs on them."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from ganlab.commands.demo import packed
from ganlab.commands.train import train
from ganlab.data.make.pack import pack
from ganlab.engine.game import Game
from ganlab.experiment.config import load
from ganlab.experiment.load import load as load_run

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
HELD_OUT = 360


class Digits(NamedTuple):
    """Images, uint8 [n, 1, 16, 16], and their classes [n]."""

    images: Tensor
    labels: Tensor


def split(folder: Path) -> tuple[str, Digits, Digits]:
    """Pack the training images; return where they are, what they are, and the held-out ones: always the same split."""
    found = load_digits()
    images = (found.images * (255 / 16)).round().astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    parts = {"held_out": order[:HELD_OUT], "train": order[HELD_OUT:]}
    read = {}
    for name, chosen in parts.items():
        np.savez(folder / f"{name}.npz", images=images[chosen], labels=found.target[chosen])
        with redirect_stdout(sys.stderr):
            pack(folder / f"{name}.npz", folder / name, size=16)
        pixels, labels = packed(str(folder / name))
        read[name] = Digits(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels))
    return str(folder / "train"), read["train"], read["held_out"]


def trained(config: str, run: Path, seed: int, *overrides: str) -> Game:
    """Train a shipped config, without pictures on the way, and load the run."""
    changes = [f"run={run}", f"seed={seed}", "logging.wandb=disabled", "train.sample_every_nimg=1_000_000", *overrides]
    with redirect_stdout(sys.stderr):
        assert train(load(CONFIGS / config, changes)) == 0, f"{run}: stopped"
    return load_run(run)
