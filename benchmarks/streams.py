"""Images for the games that make images of images, and a loop that plays a shipped config on tensors."""

import gzip
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ganlab.data.format.decode import fit
from ganlab.engine.game import Game
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("GANLAB_SHARED") or REPOSITORY.parent / "shared") / "data"


def digits() -> Tensor:
    """Scikit-learn's 1,797 digits in a random order, enlarged to 16 px: floats in [-1, 1] [n, 1, 16, 16]."""
    images = torch.from_numpy(load_digits().images[:, None]).float() / 8 - 1
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return interpolate(images[order], scale_factor=2, mode="bicubic").clamp(-1, 1)


def photographs(size: int) -> Tensor:
    """The photographs of signing hands in a random order: floats in [-1, 1] [2062, 3, size, size]."""
    with zipfile.ZipFile(SHARED / "sign_digits" / "sign_digits.zip") as file:
        names = sorted(name for name in file.namelist() if name.lower().endswith(".jpg"))
        pictures = [fit(Image.open(io.BytesIO(file.read(name))), (size, size), 3, "center") for name in names]
    images = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order].float() / 127.5 - 1


def fashion() -> Tensor:
    """The first 10,000 training images of Fashion-MNIST within a border of black: floats [10000, 1, 32, 32]."""
    with gzip.open(SHARED / "fashion_mnist" / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + 10_000 * 784), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return pad(torch.from_numpy(pixels.copy()), (2, 2, 2, 2)).float() / 127.5 - 1


def played(config: str, seed: int, streams: Mapping[str, Tensor], *changes: str, before: Game | None = None) -> Game:
    """Train the model of a shipped config on images by the names of their streams, in random orders; no labels.

    The networks of the game `before`, and its first average, are taken where the model has them.
    """
    values = load(REPOSITORY / "configs" / config, [f"seed={seed}", *changes])
    model = build_model(values)
    if before is not None:
        for name in {*before.networks, "ema"} & {*model.networks, "ema"}:
            getattr(model, name).load_state_dict(getattr(before, name).state_dict())
    model.configure_optimizers()
    batch = values.train.batch or model.BATCH
    orders = {name: torch.Generator().manual_seed(key) for key, name in enumerate(streams, seed)}
    none = torch.full((batch,), -1)
    for number in range(values.train.total_nimg // batch):
        rows = {name: torch.randint(len(streams[name]), (batch,), generator=draw) for name, draw in orders.items()}
        shown = {name: images[rows[name]] for name, images in streams.items()}
        model.training_step({**shown, "labels": none, "other_labels": none}, number)
    model.settle()
    return model.eval()
