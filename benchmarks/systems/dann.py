"""DANN from digits to digits blended on photographs (CIFAR-10's if `../shared/data` is there, else random textures)."""

import io
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from digits import HELD_OUT, trained
from numpy.typing import NDArray
from PIL import Image
from rows import Row
from sklearn.datasets import load_digits

from ganlab.commands.demo import packed
from ganlab.data.make.pack import pack
from ganlab.data.read.distributions import texture
from ganlab.models import DANN

SIZE = 28
CONTRAST = 0.65
"""Of the backgrounds: the source alone then gets about half of the target right, as in the paper (.52 on MNIST-M)."""
CIFAR = Path(__file__).resolve().parents[3] / "shared/data/cifar10/cifar10-train.zip"


def backgrounds(count: int) -> NDArray[np.uint8]:
    """Return patches of photographs, or textures [count, SIZE, SIZE, 3]."""
    if not CIFAR.exists():
        draw = np.random.default_rng(1)
        layers = [texture(SIZE, channel, lambda name: draw.random(count)) for channel in range(3)]
        return (255 * np.stack(layers, -1)).astype(np.uint8)
    with zipfile.ZipFile(CIFAR) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".webp"))
        chosen = np.random.default_rng(1).choice(len(names), count, replace=False)
        photographs = [Image.open(io.BytesIO(archive.read(names[i]))).convert("RGB") for i in chosen]
    return np.stack([np.asarray(each)[2 : 2 + SIZE, 2 : 2 + SIZE] for each in photographs])


def domains() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """Return digits in three channels, their difference from a background (as MNIST-M), and their classes."""
    digits = load_digits()
    grey = [Image.fromarray((image * 15.9375).astype(np.uint8)).resize((SIZE, SIZE)) for image in digits.images]
    source = np.stack([np.asarray(each) for each in grey])[..., None].repeat(3, -1)
    target = np.abs(source - CONTRAST * backgrounds(len(source))).astype(np.uint8)
    return source, target, digits.target


def rows(seed: int) -> Iterator[Row]:
    """Train with the reversed gradient and without it (the classifier of the source alone)."""
    order = np.random.default_rng(0).permutation(len(load_digits().target))
    train, held_out = order[HELD_OUT:], order[:HELD_OUT]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        *images, labels = domains()
        for name, of in zip(("source", "target"), images, strict=True):
            for part, chosen in (("train", train), ("held_out", held_out)):
                file = Path(folder) / f"{name}-{part}"
                np.savez(file.with_suffix(".npz"), images=of[chosen], labels=labels[chosen])
                with redirect_stdout(sys.stderr):
                    pack(file.with_suffix(".npz"), file, size=SIZE)
        tests = {name: packed(f"{folder}/{name}-held_out") for name in ("source", "target")}
        streams = f"data.url={folder}/source-train", f"data.other.url={folder}/target-train"
        shape = f"{{height: {SIZE}, width: {SIZE}, channels: 3, classes: 10}}"
        shapes = f"data.image={shape}", f"data.other.image={shape}"
        for method, changes in {"source alone": ["model.reversal=0.0"], "DANN": []}.items():
            model = trained("digits/dann.yaml", Path(folder) / method, seed, *streams, *shapes, *changes)
            assert isinstance(model, DANN)
            for name, (pixels, classes) in tests.items():
                guesses = model.classify(torch.from_numpy(pixels).permute(0, 3, 1, 2)).argmax(1)
                found[method, name] = float((guesses == torch.from_numpy(classes)).float().mean())
                yield Row(method, f"accuracy on the {name}'s held-out digits", found[method, name], "reported", True)
    gained = found["DANN", "target"] - found["source alone", "target"]
    yield Row("DANN", "gained on the target", gained, ">= 0.10", gained >= 0.1)
