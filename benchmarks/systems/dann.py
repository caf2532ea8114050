"""DANN from digits to their difference from patches of photographs, as in MNIST-M (Ganin et al. 2016, section 5.2)."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from digits import HELD_OUT, trained
from numpy.typing import NDArray
from PIL import Image
from rows import Row
from sklearn.datasets import load_digits, load_sample_images

from ganlab.commands.demo import packed
from ganlab.data.make.pack import pack
from ganlab.models import DANN

SIZE = 28


def backgrounds(count: int) -> NDArray[np.uint8]:
    """Return random patches of scikit-learn's two photographs [count, SIZE, SIZE, 3]."""
    draw, photographs = np.random.default_rng(1), load_sample_images().images
    patches = []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        top, left = (draw.integers(side - SIZE) for side in photograph.shape[:2])
        patches.append(photograph[top : top + SIZE, left : left + SIZE])
    return np.stack(patches)


def domains() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """Return digits in three channels, their difference from a background, and their classes."""
    digits = load_digits()
    grey = [Image.fromarray((image * 15.9375).astype(np.uint8)).resize((SIZE, SIZE)) for image in digits.images]
    source = np.stack([np.asarray(each) for each in grey])[..., None].repeat(3, -1)
    target = np.abs(source.astype(np.int16) - backgrounds(len(source))).astype(np.uint8)
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
