"""Training beside other people's packages: images per second and memory of ganlab and of a peer's own trainer.

The same game with networks of the same width and depth on the same batch, from images in memory, each in a process of
its own on one thread; the two take turns, and a ratio is the median of the turns' (smallest-largest). Seconds are the
processor's: other work on the machine does not count. How to install the peers: `benchmarks/trainers.py`; without one
its cases are left out. Peers make each update as they have it:

- mimicry's generator enlarges bilinearly, ours by nearest neighbours behind a shortcut's convolution, which is cheaper;
  ours has other 3x3 convolutions fused with a change of size (`ganlab/layers/fused.py`); its spectral norm iterates in
  each pass, ours once a step; it keeps no average of the generator, ours does.
- stylegan2-pytorch's discriminator has three convolutions a block, the paper's and ours two; both here have penalties
  on reals and fakes in every fourth round and no path length, as it has none in its first 5,000 rounds.

`operations` are those of the matrix products and convolutions of a round, counted: what each makes of the same game.
lightweight-gan is left out: its discriminator has no like here, and the generator alone is not training.
"""

import importlib.util
import json
import math
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from train import CONFIGS, Ours
from trainers import Batches, Mimicry, StyleGAN2Pytorch
from turns import Waiting

from ganlab.experiment.config import load
from ganlab.experiment.work import Counter

IMAGES = 512


@dataclass(frozen=True)
class Case:
    """One game, played twice."""

    package: str
    theirs: Callable[[Batches, Path], Mimicry | StyleGAN2Pytorch]
    config: str
    size: int
    batch: int
    period: int
    """Rounds after which the pattern of steps repeats."""
    changes: tuple[str, ...]
    """To our config: the peer's widths and values."""


def mimicry(game: str, config: str, *changes: str) -> Case:
    equal = ("model.generator_batch=1.0", "model.dequantize=false", *changes)
    return Case("torch_mimicry", lambda *given: Mimicry(game, 64, 5, *given), config, 32, 16, 5, equal)


WIDTHS = ("model.generator_width=64", "model.discriminator_width=64")
STYLE = """model={width_base: 2048, width_max: 32, latent: 32, style_width: 32, mapping_layers: 8, regularizers: {
r1: {_target_: ganlab.regularizers.R1, weight: 20.0, every: 4}, r2: {_target_: ganlab.regularizers.R2, weight: 20.0,
every: 4}}, generator_regularizers: {path_length: null}}"""
CASES = {
    "SN-GAN 32, width 64, batch 16": mimicry("sngan", "cifar10/sngan.yaml", *WIDTHS),
    "projection 32, width 64, batch 16": mimicry("cgan_pd", "cifar10/projection.yaml", *WIDTHS),
    "WGAN-GP 32, width 64, batch 16": mimicry(
        "wgan_gp", "cifar10/wgan_gp.yaml", "model.generator.width=64", "model.discriminator.width=64"
    ),
    "StyleGAN2 64, width 32, batch 8": Case(
        "stylegan2_pytorch",
        lambda *given: StyleGAN2Pytorch(64, 32, *given),
        "signs/stylegan2.yaml",
        64,
        8,
        4,
        (STYLE.replace("\n", " "),),
    ),
}


def ours(case: Case, folder: Path) -> Ours:
    image = f"data.image={{height: {case.size}, width: {case.size}, channels: 3, classes: 10}}"
    machine = ["run=none", "machine.device=cpu", f"train.batch={case.batch}"]
    return Ours(load(CONFIGS / case.config, [image, *machine, *case.changes]), folder)


def work(name: str, mine: bool) -> None:
    """One side, in a process of its own: count, warm up, then for each line of input make so many rounds."""
    case = CASES[name]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if mine:
            one = ours(case, Path(folder))
            networks = list(one.model.networks.values())
        else:
            images, labels = torch.rand(IMAGES, 3, case.size, case.size) * 2 - 1, torch.randint(0, 10, (IMAGES,))
            one = case.theirs(Batches(images, labels, case.batch), Path(folder))
            networks = one.networks()
        with Counter() as counter:
            one.run(case.period - 1)
        operations = counter.operations / case.period / case.batch
        parameters = [sum(weight.numel() for weight in network.parameters()) for network in networks]
        print(json.dumps({"operations": operations, "parameters": parameters}), flush=True)
        for line in sys.stdin:
            seconds = one.run(int(line))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"seconds": seconds, "peak": peak}), flush=True)


def compare(name: str, rounds: int, seconds: float) -> None:
    case = CASES[name]
    if importlib.util.find_spec(case.package) is None:
        print(f"{name}: left out: {case.package} is not installed; see benchmarks/trainers.py")
        return
    sides = {"ganlab": "mine", case.package: "theirs"}
    workers = {side: Waiting([sys.executable, __file__, "--only", name, "--worker", at]) for side, at in sides.items()}
    pace = workers[case.package].ask(case.period)["seconds"] / case.period
    steps = case.period * math.ceil(seconds / pace / case.period)
    for worker in workers.values():
        worker.ask(case.period)
    found = {side: [] for side in sides}
    for _ in range(rounds):
        for side, worker in workers.items():
            found[side].append(worker.ask(steps))
    print(f"{name}, {rounds} turns of {steps} rounds")
    for side, worker in workers.items():
        rates = [steps * case.batch / one["seconds"] for one in found[side]]
        weights = " + ".join(f"{count:,}" for count in worker.ready["parameters"])
        made = f"{worker.ready['operations'] / 1e9:.3f} GFLOP an image, {weights} weights"
        print(
            f"  {side:<18}{statistics.median(rates):8.1f} images/s ({min(rates):.1f}-{max(rates):.1f})   peak "
            f"{found[side][-1]['peak'] / 2**20:5.0f} MiB   {made}"
        )
        worker.end()
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(*found.values(), strict=True)]
    print(
        f"  ganlab / {case.package}: {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})", flush=True
    )


@click.command(help=__doc__)
@click.option("--rounds", default=7, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of a turn of the peer, about.")
@click.option("--only", multiple=True, type=click.Choice(list(CASES)), help="Cases; all of them where none is named.")
@click.option("--worker", type=click.Choice(["mine", "theirs"]), hidden=True)
def main(rounds: int, seconds: float, only: tuple[str, ...], worker: str | None) -> None:
    if worker is not None:
        work(*only, mine=worker == "mine")
        return
    print(f"torch {torch.__version__}, one thread")
    for name in only or CASES:
        compare(name, rounds, seconds)


if __name__ == "__main__":
    main()
