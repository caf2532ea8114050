"""f-AnoGAN on digits: one of the ten is left out of training, and must score as an anomaly."""

from collections.abc import Iterator

import numpy as np
import torch
from digits import HELD_OUT
from rows import Row
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from streams import played
from torch.nn.functional import interpolate

LEFT_OUT = 9


def rows(seed: int) -> Iterator[Row]:
    digits = load_digits()
    small = torch.from_numpy(digits.images[:, None] * (255 / 16)).float()
    images = interpolate(small, scale_factor=2, mode="bicubic").round().clamp(0, 255).to(torch.uint8)
    order = np.random.default_rng(seed).permutation(len(images))
    training, held_out = order[HELD_OUT:], order[:HELD_OUT]
    normal = images[training[digits.target[training] != LEFT_OUT]]
    game = played("digits/anogan_normal.yaml", seed, {"real": normal})
    game = played("digits/anogan.yaml", seed, {"real": normal}, before=game)
    scores = game.anomaly(images[held_out])
    auc = roc_auc_score(digits.target[held_out] == LEFT_OUT, scores.numpy())
    yield Row("f-AnoGAN", f"AUC of digit {LEFT_OUT}, left out", auc, "at least .80", auc >= 0.8)
