"""Learning beside torch-mimicry: SN-GAN and projection on CIFAR-10, our game and its own trainer, seed by seed.

Networks of one width, the same reals in the same order and number, Adam's values, linear decay, discriminator steps and
batch, on one thread. Judged alike, with the clock stopped: the kernel distance to as many reals of `SAMPLES` samples in
the features of the network in `../shared/weights` (compare it within this table alone), with its error. Time is that of
the processor. Ours are judged by the average, which ships, and by the live generator; mimicry keeps no average.

Runs that `runs/peers_learning.jsonl` has are not repeated. How to install mimicry: `benchmarks/trainers.py`.
"""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch
from matplotlib.figure import Figure
from quality import FEATURES, REPOSITORY, SHARED
from torch import Tensor
from trainers import CHANGES, Batches, Mimicry

from ganlab.evaluation.images import BLOCK, open_images
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.metrics.features import TorchScriptFeatures
from ganlab.metrics.kernel import kernel_distance
from ganlab.seeding import seed_everything

GAMES = {"SN-GAN": ("sngan", "cifar10/sngan.yaml"), "projection": ("cgan_pd", "cifar10/projection.yaml")}
SIDES = {"ganlab": ("average", "live"), "mimicry": ("live",), "mimicry, changed": ("live",)}
SIDES |= {f"mimicry, {change}": ("live",) for change in CHANGES}
"""Who is judged of each: of mimicry as it is, with all of `CHANGES`, and with one of them."""
USUAL = "ganlab", "mimicry", "mimicry, changed"
WIDTH, BATCH, D_STEPS, LR = 16, 32, 2, 5e-4
SAMPLES, SUBSETS = 250, 20
MARKS = (0.5, 1.0)
"""When it is judged, in shares of the run."""
Generators = dict[str, Callable[[Tensor, Tensor], Tensor]]
"""Latents [n, 128] and labels [n] to images [n, 3, h, w] in [-1, 1], in evaluation mode."""
FOUND, PICTURE = REPOSITORY / "runs/peers_learning.jsonl", REPOSITORY / "benchmarks/pictures/peers.png"


class Watched(Batches):
    """Batches of a run whose generators are judged, with the clock stopped, when some have been shown."""

    def __init__(
        self, images: Tensor, labels: Tensor, rounds: int, judge: Callable[[Tensor], dict[str, float]]
    ) -> None:
        super().__init__(images, labels, BATCH)
        self.rounds, self.judge, self.found = rounds, judge, list[dict[str, Any]]()
        self.marks = {round(share * rounds) // D_STEPS * D_STEPS for share in MARKS}

    def begin(self, generators: Callable[[], Generators]) -> None:
        self.generators, self.start = generators, time.process_time()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number, batch in enumerate(itertools.islice(super().__iter__(), self.rounds)):
            if number in self.marks:
                self.look(number)
            yield batch

    @torch.no_grad()
    def look(self, number: int) -> None:
        """Judge the generators after so many batches."""
        now = time.process_time()
        draw = torch.Generator().manual_seed(0)
        latents, labels = torch.randn(SAMPLES, 128, generator=draw), torch.arange(SAMPLES) % 10
        for name, generator in self.generators().items():
            images = generator(latents, labels).add(1).mul(127.5).round().clamp(0, 255).byte()
            about = {"of": name, "images": number * BATCH, "seconds": now - self.start}
            self.found.append(about | self.judge(images))
        self.start += time.process_time() - now


def play_ours(game: str, seed: int, batches: Watched) -> None:
    """Train our game."""
    widths = [f"model.generator_width={WIDTH}", f"model.discriminator_width={WIDTH}"]
    equal = ["model.generator_batch=1.0", "model.dequantize=false", f"model.discriminator_steps={D_STEPS}"]
    rest = [f"model.lr={LR}", f"train.batch={BATCH}", f"train.total_nimg={batches.rounds * BATCH}", f"seed={seed}"]
    model = build_model(load(REPOSITORY / "configs" / GAMES[game][1], [*widths, *equal, *rest, "run=none"]))
    model.configure_optimizers()

    def generators() -> Generators:
        model.settle()
        live = lambda *given: model.generator.eval()(*given)  # noqa: E731
        return {"average": model.ema, "live": live}

    batches.begin(generators)
    for number, batch in enumerate(batches):
        model.generator.train()
        model.training_step(batch, number)
    batches.look(batches.rounds)


def play_theirs(game: str, seed: int, batches: Watched, changes: Iterable[str]) -> None:
    """Let mimicry's trainer train its own, or what `changes` make of it."""
    seed_everything(seed)
    with TemporaryDirectory() as folder:
        peer = Mimicry(GAMES[game][0], WIDTH, D_STEPS, batches, Path(folder), lr=LR, decay="linear")
        for change in changes:
            CHANGES[change](peer)

        def live(latents: Tensor, labels: Tensor) -> Tensor:
            images = peer.generator.eval()(latents, *[labels] * (game == "projection"))
            peer.generator.train()
            return images

        batches.begin(lambda: {"live": live})
        peer.train(batches.rounds // D_STEPS)
    batches.look(batches.rounds)


def cifar(count: int) -> tuple[Tensor, Tensor]:
    """Return images [n, 3, 32, 32] as uint8, in a random order, and their labels."""
    reals = open_images(str(SHARED / "data/cifar10/cifar10-train.zip"), count)
    images, labels = (torch.cat(x) for x in zip(*(reals.block(at) for at in range(0, count, BLOCK)), strict=True))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return images[order], labels[order]


def play(images: int, seeds: int, sides: Iterable[str], games: Iterable[str]) -> None:
    """Make the runs that are missing, and note each at its end."""
    known = [json.loads(line) for line in FOUND.read_text().splitlines()] if FOUND.exists() else []
    done = {(one["game"], one["side"], one["seed"], one["total"]) for one in known}
    pixels, labels = cifar(min(images, 10_000) + SAMPLES)
    extractor = TorchScriptFeatures(path=FEATURES)
    real, _ = extractor(pixels[-SAMPLES:])

    def judge(fakes: Tensor) -> dict[str, float]:
        kid, error = kernel_distance(extractor(fakes)[0], real, subsets=SUBSETS, size=SAMPLES // 2)
        return {"kid": kid, "error": error}

    floats, labels = pixels[:-SAMPLES].float() / 127.5 - 1, labels[:-SAMPLES]
    for seed, game, side in itertools.product(range(seeds), games, sides):
        if (game, side, seed, images) in done:
            continue
        batches = Watched(floats, labels, images // BATCH // D_STEPS * D_STEPS, judge)
        if side == "ganlab":
            play_ours(game, seed, batches)
        else:
            play_theirs(game, seed, batches, CHANGES if side == "mimicry, changed" else CHANGES.keys() & {side[9:]})
        FOUND.parent.mkdir(exist_ok=True)
        with FOUND.open("a") as file:
            for one in batches.found:
                print(json.dumps({"game": game, "side": side, "seed": seed, "total": images} | one), file=file)
        last = batches.found[-1]
        print(f"{game}, {side}, seed {seed}: kid {last['kid']:.4f} after {last['seconds']:.0f} s", flush=True)


def tell(images: int) -> None:
    """Print a table of the ends, and draw the curves over images and over time."""
    found = [one for one in map(json.loads, FOUND.read_text().splitlines()) if one["total"] == images]
    print(f"| game | generator | kid after {images:,} images, mean of the seeds | each seed | error | CPU s |")
    print("|---|---|---|---|---|---|")
    figure = Figure((9, 6.2), layout="constrained")
    for row, game in enumerate(GAMES):
        axes = [figure.add_subplot(2, 2, 2 * row + column) for column in (1, 2)]
        for colour, (side, of) in enumerate((side, of) for side, names in SIDES.items() for of in names):
            lines = [one for one in found if (one["game"], one["side"], one["of"]) == (game, side, of)]
            if not lines:
                continue
            stages = [list(each) for _, each in itertools.groupby(sorted(lines, key=by_images), by_images)]
            means = [
                {key: statistics.mean(one[key] for one in stage) for key in ("images", "seconds", "kid")}
                for stage in stages
            ]
            for across, axis in zip(("images", "seconds"), axes, strict=True):
                axis.plot(
                    [m[across] for m in means],
                    [m["kid"] for m in means],
                    "o-",
                    ms=4,
                    color=f"C{colour}",
                    label=f"{side}, {of}",
                )
                axis.plot([one[across] for one in lines], [one["kid"] for one in lines], ".", ms=3, color=f"C{colour}")
            end, mean = stages[-1], means[-1]
            each = ", ".join(f"{one['kid']:.3f}" for one in end)
            error = statistics.mean(one["error"] for one in end)
            told = f"{mean['kid']:.3f} | {each} | {error:.3f} | {mean['seconds']:.0f}"
            print(f"| {game} | {side}, {of} | {told} |")
        for axis, across in zip(axes, ("real images shown", "seconds of one core"), strict=True):
            axis.set(title=game, xlabel=across, ylabel="kernel distance")
        axes[0].legend(frameon=False)
    figure.savefig(PICTURE, dpi=80)


def by_images(one: dict[str, Any]) -> int:
    return one["images"]


@click.command(help=__doc__)
@click.option("--images", default=102_400, show_default=True, help="Reals shown in a run.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--side", "sides", multiple=True, type=click.Choice(list(SIDES)), default=USUAL, show_default=True)
@click.option("--game", "games", multiple=True, type=click.Choice(list(GAMES)), default=list(GAMES), show_default=True)
def main(images: int, seeds: int, sides: tuple[str, ...], games: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    play(images, seeds, sides, games)
    tell(images)


if __name__ == "__main__":
    main()
