"""What each stabiliser costs: the time of a player's step with it, beside the same step without.

Usage: python benchmarks/stabilisers.py [--seconds S]. Prints a Markdown table. DCGAN's networks at 32 px, 64 images a
step, one thread; all variants take turns and the fastest of each counts, since other load only adds to a time.
"""

import time
from functools import partial

import click
import torch
from torch.optim import Adam

from ganlab.augment import InstanceNoise
from ganlab.engine.runtime import Runtime
from ganlab.models import GANModule
from ganlab.networks import dcgan
from ganlab.objectives import MMD, NonSaturating, RelativisticAverage
from ganlab.optim import Lookahead, Optimistic
from ganlab.regularizers import (
    DRAGAN,
    R1,
    R2,
    Consistency,
    Drift,
    FiniteDifferenceR1,
    FiniteDifferenceR2,
    GradientPenalty,
    HistoricalAveraging,
    JacobianClamping,
    JSRegularizer,
    LeCam,
    LipschitzPenalty,
    ModeSeeking,
    Orthogonal,
    ZeroCenteredPenalty,
)
from ganlab.types import ImageSpec

IMAGE, BATCH, WIDTH = ImageSpec(32, 32, 3), 64, 32
ADAM = partial(Adam, lr=2e-4, betas=(0.5, 0.999))


def game(**parts) -> GANModule:
    """DCGAN's networks, with some parts of a game."""
    given = {
        "objective": NonSaturating(),
        "optimizers": {"discriminator": ADAM, "generator": ADAM},
        "runtime": Runtime(),
        **parts,
    }
    made = GANModule(
        image=IMAGE,
        generator=dcgan.Generator(image=IMAGE, width=WIDTH, latent=100),
        discriminator=dcgan.Discriminator(image=IMAGE, width=WIDTH),
        **given,
    )
    made.configure_optimizers()
    return made


def around(kind: type) -> dict[str, object]:
    """Optimizers around Adam."""
    return {"optimizers": dict.fromkeys(("discriminator", "generator"), partial(kind, optimizer=ADAM))}


OF_THE_DISCRIMINATOR = {
    kind.__name__: {"regularizers": {"it": kind(weight=1.0)}}
    for kind in (
        *(R1, R2, FiniteDifferenceR1, FiniteDifferenceR2, GradientPenalty, LipschitzPenalty, ZeroCenteredPenalty),
        *(DRAGAN, JSRegularizer, Drift, LeCam, Consistency, Orthogonal, HistoricalAveraging),
    )
} | {
    "R1, every 16": {"regularizers": {"it": R1(weight=1.0, every=16)}},
    "InstanceNoise": {"augment": InstanceNoise(std=0.1)},
    "RelativisticAverage": {"objective": RelativisticAverage()},
    "MMD": {"objective": MMD()},
    "Optimistic": around(Optimistic),
    "Lookahead": around(Lookahead),
}
OF_THE_GENERATOR = {
    kind.__name__: {"generator_regularizers": {"it": kind(weight=1.0)}} for kind in (JacobianClamping, ModeSeeking)
}


def period(made: GANModule, player: str) -> int:
    """The steps after which the due penalties repeat."""
    return max([penalty.every for penalty in made.players[player].regularizers.values()], default=1)


def fastest(games: dict[str, GANModule], player: str, seconds: float) -> dict[str, float]:
    """The fastest step of each game in seconds; a lazy penalty counts as the mean of its cycle."""
    reals = {"real": torch.rand(BATCH, 3, 32, 32) * 2 - 1, "labels": torch.full((BATCH,), -1)}
    reals["real"] = reals["real"].to(memory_format=torch.channels_last)
    taken: dict[str, dict[int, float]] = {name: {} for name in games}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, made in games.items():
            at = made.clock.steps[player] % period(made, player)
            start = time.process_time()  # on one thread the time of a step, whatever else the machine does
            made.step(player, reals)
            taken[name][at] = min(time.process_time() - start, taken[name].get(at, float("inf")))
    return {name: sum(times.values()) / len(times) for name, times in taken.items()}


@click.command()
@click.option("--seconds", default=120.0, help="Duration of each of the two measurements.")
def main(seconds: float) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{torch.__version__}, DCGAN of width {WIDTH} at 32 px, {BATCH} images, one thread\n")
    print("| | a step, ms | of a plain one |\n|---|---|---|")
    for player, variants in (("discriminator", OF_THE_DISCRIMINATOR), ("generator", OF_THE_GENERATOR)):
        games = {f"plain {player}": game()} | {name: game(**parts) for name, parts in variants.items()}
        times = fastest(games, player, seconds)
        for name, spent in times.items():
            print(f"| {name} | {1000 * spent:.1f} | {spent / times[f'plain {player}']:.2f} |")


if __name__ == "__main__":
    main()
