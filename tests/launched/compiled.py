"""Games whose losses are compiled whole, against eager ones: 20 steps of each player in float64.

Prints by case the largest difference of a weight, the graphs compiled, and what was logged, as JSON.
"""

import json
import logging
import sys
from dataclasses import replace
from functools import partial

import games
import torch
import toys
from torch import nn
from torch.optim import Adam

from ganlab.augment import InstanceNoise, MirrorFlip
from ganlab.engine.game import Game
from ganlab.engine.runtime import Runtime
from ganlab.experiment.parts import build
from ganlab.models import DCGAN, SNGAN, GANModule, ProgressiveGAN, ProjectionGAN
from ganlab.networks import resnet
from ganlab.objectives import (
    MMD,
    FDivergence,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Objective,
    RatioMatching,
    RelativisticAverage,
    RelativisticPaired,
    RepulsiveMMD,
    Wasserstein,
)
from ganlab.objectives.divergences import ROWS
from ganlab.regularizers import (
    DRAGAN,
    R1,
    Consistency,
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
    PathLength,
    ZeroCenteredPenalty,
)
from ganlab.schedules import Linear
from ganlab.types import ImageSpec, Precision

IMAGE, BATCH, STEPS = ImageSpec(16, 16, 3, 4), 16, 20
RECOMPILED = 2
"""Compilations after which a loss is left uncompiled; torch's own limit is 8, each of which takes seconds."""
LAST = STEPS * BATCH
"""Where the schedules end, in images."""
SMALL = {"generator_width": 8, "discriminator_width": 8}
ADAM = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
OPTIMIZERS = {"generator": ADAM, "discriminator": ADAM}


def dcgan(runtime: Runtime, **arguments) -> GANModule:
    r1 = {"r1": R1(weight=1.0, every=4)}
    return DCGAN(image=IMAGE, width=8, regularizers=r1, augment=MirrorFlip(), runtime=runtime, **arguments)


def wgan_gp(runtime: Runtime) -> GANModule:
    return GANModule(
        image=IMAGE,
        generator=resnet.Generator(image=IMAGE, width=8),
        discriminator=resnet.Discriminator(image=IMAGE, width=8, spectral_norm=False, pooling="mean"),
        objective=Wasserstein(),
        optimizers=OPTIMIZERS,
        regularizers={"gradient_penalty": GradientPenalty(weight=10.0)},
        runtime=runtime,
    )


def progressive(runtime: Runtime) -> GANModule:
    """From 4 px through a fade to 8 px, in 20 steps of 16 images."""
    image, widths = replace(IMAGE, height=8, width=8), {"width_base": 32, "width_max": 6, "latent": 8}
    return ProgressiveGAN(image=image, **widths, train_nimg=96, fade_nimg=96, batches={"4": BATCH}, runtime=runtime)


class Broken(nn.Module):
    """A discriminator that no graph can hold: it asks the host for a value."""

    classes = 0

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 16 * 16, 1)

    def forward(self, images, labels):
        logits = self.linear(images.flatten(1))[:, 0]
        return logits * (1.0 if logits.sum().item() > 0 else 2.0)


class Unstable(Broken):
    """Another one, which changes at every step something that a compiler takes for constant."""

    def forward(self, images, labels):
        return self.linear(images.flatten(1))[:, 0] * {str(self.steps): 1.0}[str(self.steps)]


def odd(network: type[Broken], runtime: Runtime) -> GANModule:
    return GANModule(
        image=IMAGE,
        generator=dcgan(runtime).generator,
        discriminator=network(),
        objective=NonSaturating(),
        optimizers=OPTIMIZERS,
        runtime=runtime,
    )


def micro_batches(runtime: Runtime) -> GANModule:
    return dcgan(replace(runtime, micro_batch=12), batch_norm_group=4)


def in_time(runtime: Runtime) -> GANModule:
    """Whatever may be a schedule is one: of the optimizer, of a penalty's weight, of the learning rate beside them."""
    adam = partial(
        Adam,
        lr=Linear(until_nimg=LAST, start=1e-3, end=1e-4),
        betas=(Linear(until_nimg=LAST, start=0.5, end=0.9), 0.99),
    )
    return DCGAN(
        image=IMAGE,
        width=8,
        optimizers={"generator": adam, "discriminator": adam},
        regularizers={"r1": R1(weight=Linear(until_nimg=LAST, start=4.0, end=0.5), every=2)},
        lr_schedule=Linear(until_nimg=LAST, end=0.5),
        ema_half_life=Linear(until_nimg=LAST, end=500.0),
        runtime=runtime,
    )


class EveryObjective(Objective):
    """The sum of all that take logits."""

    sees_reals = True
    each = (
        *(FDivergence(name=name, trick=trick) for name in ROWS for trick in (True, False)),
        *(RatioMatching(loss=loss) for loss in ("lsif", "kliep", "exponential")),
        *(Minimax(), NonSaturating(real_target=0.9), LeastSquares(), Hinge(), Wasserstein()),
        *(RelativisticPaired(), RelativisticAverage(), MMD(), RepulsiveMMD()),
    )

    def discriminator(self, real, fake):
        return sum(each.discriminator(real, fake) for each in self.each)

    def generator(self, fake, real):
        return sum(each.generator(fake, real) if each.sees_reals else each.generator(fake) for each in self.each)


def everything(runtime: Runtime) -> GANModule:
    kinds = (R1, GradientPenalty, LipschitzPenalty, ZeroCenteredPenalty, DRAGAN, JSRegularizer, LeCam, Orthogonal)
    kinds = *kinds, FiniteDifferenceR1, FiniteDifferenceR2, Consistency, HistoricalAveraging
    return GANModule(
        image=IMAGE,
        generator=toys.Generator(image=IMAGE),
        discriminator=toys.Discriminator(image=IMAGE),
        objective=EveryObjective(),
        optimizers=OPTIMIZERS,
        regularizers={kind.__name__: kind(weight=0.1) for kind in kinds},
        generator_regularizers={
            kind.__name__: kind(weight=0.1) for kind in (JacobianClamping, PathLength, ModeSeeking, HistoricalAveraging)
        },
        augment=InstanceNoise(std=Linear(until_nimg=LAST, start=0.5, end=0.0)),
        runtime=runtime,
    )


CASES = {
    "dcgan": dcgan,
    "everything": everything,
    "dcgan, micro-batches": micro_batches,
    "sngan": partial(SNGAN, image=IMAGE, **SMALL),
    "projection": partial(ProjectionGAN, image=IMAGE, **SMALL),
    "wgan-gp": wgan_gp,
    "progressive": progressive,
    "broken": partial(odd, Broken),
    "unstable": partial(odd, Unstable),
    "schedules": in_time,
}
TOYS = {name: partial(build, toy, Game, ["games"], image=ImageSpec(8, 8, 1, 4)) for name, toy in games.GAMES.items()}
"""What takes a `runtime` and makes a game; so are the cases."""


def make_case(case: str, precision: Precision = "fp32") -> Game:
    return {**CASES, **TOYS}[case](runtime=Runtime(precision=precision, total_nimg=16_000_000))


def play(case: str, compiled: bool, precision: Precision, backend: str, device: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = make_case(case, precision).to(device)
    if compiled:
        model.compile(backend=backend)
    model.configure_optimizers()
    shape = (BATCH, model.image.channels, model.image.height, model.image.width)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8).to(device)
    labels = (torch.arange(BATCH) % 4).to(device)
    for step in range(STEPS):
        if isinstance(network := next(iter(model.seats.values())).network, Broken):
            network.steps = step
        model.training_step((pixels, labels), step)
    return model.state_dict()


def compare(
    case: str, precision: Precision = "fp64", backend: str = "aot_eager", device: str = "cpu"
) -> dict[str, float | int | list[str]]:
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    logging.getLogger("ganlab").addHandler(handler)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(recompile_limit=RECOMPILED if case == "unstable" else 8):
        eager, compiled = (play(case, compiled, precision, backend, device) for compiled in (False, True))
    logging.getLogger("ganlab").removeHandler(handler)
    far = max(float((a - b).abs().max()) for a, b in zip(eager.values(), compiled.values(), strict=True))
    return {"far": far, "graphs": torch._dynamo.utils.counters["stats"]["unique_graphs"], "logged": logged}


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        device, *names = sys.argv[1:]
        backend = "inductor" if device == "cuda" else "aot_eager"
        found = {name: compare(name, backend=backend, device=device) for name in names}
    else:
        # Inductor writes code for the graphs that this backend runs as they are, and takes its time for it.
        # DCGAN alone is the schedules' game, and that of the micro-batches.
        found = {name: compare(name) for name in (*CASES, *TOYS) if name != "dcgan"}
        found["bf16"] = compare("dcgan", "bf16")
    print(json.dumps(found))
