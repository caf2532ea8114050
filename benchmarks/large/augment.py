"""A tenth of the sign photographs: ADA and DiffAugment against none, on those held out.

The kernel distance is between 300 samples and the held-out photographs, at three seeds, with the features of the
network in `../shared/weights`: compare it within this table. `kid` of the training photographs themselves is beside it.

A narrow DCGAN, whose discriminator nothing keeps from learning the photographs by heart; a run shows each of them 78
times, in a minute of one core. (One with spectral norm, as narrow, judged held-out photographs nearly as those of
its training after 230 times: there was little for augmentation to mend.) Every row but those of means is one run.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from digits import trained
from quality import FEATURES, SHARED
from rows import Row

from ganlab.commands.demo import packed
from ganlab.data.make.pack import pack
from ganlab.engine.game import Game
from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import ImageSet, Samples, open_images
from ganlab.metrics.features import TorchScriptFeatures

CONFIG = "cifar10/dcgan.yaml"
SHORT = ("model.width=16", "train.batch=32", "train.total_nimg=16_000", "machine.threads=1")
FAKES = 300
AUGMENTS = {
    "none": "model.augment=null",
    "ADA": "model.augment={_target_: ganlab.augment.ADA, p: {_target_: ganlab.augment.Adaptive, over_nimg: 50_000}}",
    "DiffAugment": "model.augment={_target_: ganlab.augment.DiffAugment}",
}
"""ADA's probability moves ten times as fast as in the paper, whose runs are hundreds of times as long."""
SEEDS = 3


def split(folder: Path) -> tuple[Path, Path]:
    """Pack a tenth of the photographs at 32 px, and the others: always the same ones."""
    with redirect_stdout(sys.stderr):
        pack(SHARED / "data/sign_digits/sign_digits.zip", folder / "all", size=32)
        images, labels = packed(str(folder / "all"))
        order = np.random.default_rng(0).permutation(len(images))
        few = len(images) // 10
        for name, chosen in (("few", order[:few]), ("rest", order[few:])):
            np.savez(folder / f"{name}.npz", images=images[chosen], labels=labels[chosen])
            pack(folder / f"{name}.npz", folder / name, size=32)
    return folder / "few", folder / "rest"


def rows(seed: int) -> Iterator[Row]:
    """The distance of each run, and of each augmentation the mean of its seeds beside that without."""
    torch.set_num_threads(1)
    extractor, cpu = TorchScriptFeatures(path=FEATURES), torch.device("cpu")
    with tempfile.TemporaryDirectory() as temporary:
        few, rest = split(Path(temporary))
        reals = open_images(str(rest))

        def distance(fakes: ImageSet) -> float:
            (row,) = evaluate(fakes, reals, ["kid"], extractor, cpu, about={})
            return float(row["value"])

        what, found = f"kid{FAKES} on {len(reals):,} others", dict[str, list[float]]()
        yield Row("the 206 photographs", what, distance(open_images(str(few))), "recorded", True)
        for name, change in AUGMENTS.items():
            found[name] = []
            for number in range(seed, seed + SEEDS):
                run = Path(temporary) / f"{name}{number}"
                model = trained(CONFIG, run, number, f"data.url={few}", change, *SHORT)
                found[name].append(distance(Samples(model, FAKES)))
                yield Row(f"{name}, seed {number}", what, found[name][-1], f"recorded; {state(model)}", True)
    plain = found.pop("none")
    for name, values in found.items():
        bar = f"< {mean(plain):.4f} without, and each seed < {min(plain):.4f}"
        yield Row(name, f"{what}, mean of {SEEDS} seeds", mean(values), bar, max(values) < min(plain))


def state(model: Game) -> str:
    """Say where the probability is."""
    memory = getattr(model, "augment_memory", None)
    return "no probability" if memory is None else f"p = {memory[0].item():.3f}"
