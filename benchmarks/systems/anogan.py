"""f-AnoGAN on digits: one of the ten is left out of training, and must score as an anomaly."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from rows import Row
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import interpolate

from ganlab.engine.game import Game
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load

LEFT_OUT, HELD_OUT, BATCH = 9, 360, 32
ROUNDS = {"anogan_normal": 2000, "anogan": 1000}


def played(name: str, images: Tensor, seed: int, before: Game | None = None) -> Game:
    """Play a config's game on images, from the weights of another game."""
    game = build_model(replace(load(f"configs/digits/{name}.yaml"), seed=seed))
    if before is not None:
        for at in ("generator", "discriminator", "ema"):
            getattr(game, at).load_state_dict(getattr(before, at).state_dict())
    game.configure_optimizers()
    draw = torch.Generator().manual_seed(seed)
    for number in range(ROUNDS[name]):
        batch = images[torch.randint(len(images), (BATCH,), generator=draw)]
        game.training_step((batch, torch.full((BATCH,), -1)), number)
    return game.eval()


def rows(seed: int) -> Iterator[Row]:
    digits = load_digits()
    small = torch.from_numpy(digits.images[:, None] * (255 / 16)).float()
    images = interpolate(small, scale_factor=2, mode="bicubic").round().clamp(0, 255).to(torch.uint8)
    order = np.random.default_rng(seed).permutation(len(images))
    training, held_out = order[HELD_OUT:], order[:HELD_OUT]
    normal = images[training[digits.target[training] != LEFT_OUT]]
    game = played("anogan", normal, seed, played("anogan_normal", normal, seed))
    scores = game.anomaly(images[held_out])
    auc = roc_auc_score(digits.target[held_out] == LEFT_OUT, scores.numpy())
    yield Row("f-AnoGAN", f"AUC of digit {LEFT_OUT}, left out", auc, "at least .80", auc >= 0.8)
