"""A tenth of the sign photographs: ADA and DiffAugment against none, on those held out; and what ADA costs.

The kernel distance is between 1,800 samples and the held-out photographs, at three seeds, with the features of the
network in `../shared/weights`: compare it within this table. `kid` of the training photographs themselves is beside it.
Runs use a GPU where there is one.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from digits import trained
from quality import FEATURES, REPOSITORY, SHARED
from rows import Row

from ganlab.commands.demo import packed
from ganlab.data.make.pack import pack
from ganlab.engine.game import Game
from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import ImageSet, Samples, open_images
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.metrics.features import TorchScriptFeatures

CONFIG = "signs/ada.yaml"
FAKES = 1800
AUGMENTS = {
    "none": "model.augment=null",
    "ADA": "model.augment._target_=ganlab.augment.ADA",
    "DiffAugment": "model.augment={_target_: ganlab.augment.DiffAugment}",
}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


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


def rows(seed: int, changes: tuple[str, ...] = (), seeds: int = 3) -> Iterator[Row]:
    """The distances, and the cost; `changes` are to the config, for a shorter run."""
    extractor = TorchScriptFeatures(path=FEATURES).to(DEVICE)
    with tempfile.TemporaryDirectory() as temporary:
        few, rest = split(Path(temporary))
        reals = open_images(str(rest))

        def distance(fakes: ImageSet) -> float:
            (row,) = evaluate(fakes, reals, ["kid"], extractor, DEVICE, about={})
            return float(row["value"])

        found: dict[str, list[float]] = {}
        floor = distance(open_images(str(few)))
        for name, change in AUGMENTS.items():
            for number in range(seed, seed + seeds):
                model = trained(
                    CONFIG, Path(temporary) / f"{name}{number}", number, f"data.url={few}", change, *changes
                )
                found.setdefault(name, []).append(distance(Samples(model.to(DEVICE), FAKES)))
                print(f"{name}, seed {number}: kid {found[name][-1]:.4f}, {state(model)}", file=sys.stderr, flush=True)
    plain = found.pop("none")
    words = ", ".join(f"{value:.4f}" for value in plain)
    for name, values in found.items():
        spread = f" ± {stdev(values):.4f}" if seeds > 1 else ""
        yield Row(
            f"{name}, 206 photographs",
            f"kid{FAKES} on 1,856 others, mean{spread} of {seeds} seeds",
            mean(values),
            f"less than without, {mean(plain):.4f} ({words}); the 206 themselves have {floor:.4f}",
            max(values) < min(plain),
        )
    yield share()


def state(model: Game) -> str:
    """Say where the probability is."""
    memory = getattr(model, "augment_memory", None)
    return "no probability" if memory is None else f"p = {memory[0].item():.2f}"


def share(rounds: int = 20) -> Row:
    """ADA's share of a round of SN-GAN's own networks, of 32 px and the paper's widths, eager."""
    seconds = {}
    for name, p in (("without", "null"), ("with", "{_target_: ganlab.augment.ADA, p: 0.5}")):
        model = build_model(load(REPOSITORY / "configs/cifar10/sngan.yaml", [f"model.augment={p}"])).to(DEVICE)
        model.configure_optimizers()
        reals = torch.rand(64, 3, 32, 32, device=DEVICE) * 2 - 1, torch.full((64,), -1, device=DEVICE)
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            model.training_step(reals, 0)
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        seconds[name] = min(times[5:])
    part = 1 - seconds["without"] / seconds["with"]
    return Row(f"ADA on {DEVICE.type}", "share of a D step of SN-GAN, 64 images of 32 px", part, "recorded", part < 0.5)
