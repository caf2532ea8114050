"""The verb `demo`: a GAN of scikit-learn's handwritten digits, and a classifier that scores its samples."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlab.commands.train import train
from ganlab.data import ShardDataset
from ganlab.data.make.pack import pack
from ganlab.experiment.config import load as load_config
from ganlab.experiment.load import load
from ganlab.files import atomic_write
from ganlab.types import UserError

try:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC
except ImportError:
    raise UserError("the demo needs scikit-learn, whose digits it draws: pip install 'ganlab[demo]'") from None

CONFIG = "ganlab:digits/dcgan.yaml"
DATA = Path("data/digits")

JUDGED = 1000
"""Number of samples for the classifier."""
SURE = 0.8
"""Probability from which a sample counts as a digit."""


def demo(overrides: Sequence[str]) -> int:
    """Pack the digits, train on them, and report; return the exit code. What is there already is not made again."""
    config = load_config(CONFIG, overrides)
    print(f"The demo writes {DATA}.npz, {DATA} and {config.run} in {Path.cwd()}.")
    print("It takes about three minutes on two cores. Ctrl-C stops it, and the same command goes on.", flush=True)
    source = DATA.with_suffix(".npz")
    if not source.exists():
        write_source(source)
    print(f"{DATA}: {len(pack(source, DATA, size=16)):,} images", flush=True)
    if code := train(config):
        return code
    report(Path(config.run))
    return 0


def write_source(file: Path) -> None:
    """Write the 1,797 digits, 8x8 grey, as an .npz that `ganlab data pack` reads."""
    digits = load_digits()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as out:
        images = (digits.images * (255 / 16)).round().astype(np.uint8)
        np.savez(out, images=images, labels=digits.target, class_names=[str(name) for name in digits.target_names])


def packed(url: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read a whole packed dataset: uint8 [n, h, w, c] and its labels."""
    dataset = ShardDataset(url)
    image = dataset.image
    images = np.empty((len(dataset), image.height, image.width, image.channels), np.uint8)
    return images, np.array([dataset.read(sample, out) for sample, out in enumerate(images)])


class Judge:
    """A support vector machine with calibrated probabilities, fitted on real digits: uint8 [n, h, w, c] and labels."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self.classifier: Any = CalibratedClassifierCV(SVC(), ensemble=False).fit(flat(images), labels)

    def recognised(self, images: NDArray[np.uint8]) -> float:
        """Return the share of images with some digit's probability of at least `SURE`."""
        return float((self.classifier.predict_proba(flat(images)).max(1) >= SURE).mean())

    def shares(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return each class's share of the images [10]."""
        return np.bincount(self.classifier.predict(flat(images)), minlength=10) / len(images)


def flat(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Flatten images to the classifier's vectors [n, pixels] in [0, 1]."""
    return images.reshape(len(images), -1) / 255


def judge_run(run: Path) -> tuple[float, float, NDArray[np.float64]]:
    """Return the share of samples and of held-out reals that are recognised, and the classes' shares of the samples."""
    images, labels = packed(str(DATA))
    half = len(images) // 2
    judge = Judge(images[:half], labels[:half])
    samples = load(run).sample(JUDGED, seed=1).permute(0, 2, 3, 1).numpy()
    return judge.recognised(samples), judge.recognised(images[half:]), judge.shares(samples)


def report(run: Path) -> None:
    """Print the score of the samples, where the files are, and what to try next."""
    recognised, real, shares = judge_run(run)
    names = ShardDataset(str(DATA)).index.class_names
    ganlab = typed()
    named = [f"{names[k]} ({shares[k]:.1%})" for k in (shares.argmin(), shares.argmax())]
    print(f"""
{JUDGED:,} samples, judged by a classifier of the real digits
  a digit with probability >= {SURE}   {recognised:.0%} of the samples (held-out real digits: {real:.0%})
  rarest and commonest digit         {named[0]} and {named[1]}

Where things are
  pictures     {max((run / "samples").glob("nimg-*.png"))}
  metrics      {run / "metrics.jsonl"}
  checkpoint   {max((run / "checkpoints").glob("nimg-*.ckpt"))}

What to try next
  {ganlab} sample {run} -n 64 --seed 1 --out digits.png
  {ganlab} show {CONFIG}
  {ganlab} train {CONFIG} run=runs/wide model.width=64 train.total_nimg=100_000""")


def typed() -> str:
    """Return what a person types to run this ganlab."""
    here = Path(sys.executable).with_name("ganlab")
    return "ganlab" if shutil.which("ganlab") == str(here) else os.path.relpath(here)
