"""Games whose losses are compiled whole, against eager ones: 20 moves of each player in float64.

Prints by case the largest difference of a weight, the graphs compiled, and what was logged, as JSON.
"""

import json
import logging
import sys

import torch
from torch import nn

from ganlab.augment import MirrorFlip
from ganlab.models import DCGAN, SNGAN, GANModule, ProgressiveGAN, ProjectionGAN
from ganlab.networks import resnet
from ganlab.objectives import Wasserstein
from ganlab.regularizers import R1, GradientPenalty
from ganlab.types import ImageSpec

IMAGE, BATCH, STEPS = ImageSpec(16, 16, 3, 4), 16, 20
SMALL = {"generator_width": 8, "discriminator_width": 8}


def dcgan(**arguments) -> GANModule:
    return DCGAN(image=IMAGE, width=8, regularizers={"r1": R1(weight=1.0, every=4)}, augment=MirrorFlip(), **arguments)


def wgan_gp(**arguments) -> GANModule:
    make = dcgan(**arguments).optimizer_makers
    return GANModule(
        image=IMAGE,
        generator=resnet.Generator(image=IMAGE, width=8),
        discriminator=resnet.Discriminator(image=IMAGE, width=8, spectral_norm=False, pooling="mean"),
        objective=Wasserstein(),
        optimizers=make,
        regularizers={"gradient_penalty": GradientPenalty(weight=10.0)},
        **arguments,
    )


def progressive(**arguments) -> GANModule:
    """From 4 px through two fades to 16 px, in 20 moves of 16 images."""
    widths = {"width_base": 32, "width_max": 6, "latent": 8}
    return ProgressiveGAN(image=IMAGE, **widths, train_nimg=64, fade_nimg=64, batches={"4": BATCH}, **arguments)


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
    """Another one, which changes at every move something that a compiler takes for constant."""

    def forward(self, images, labels):
        return self.linear(images.flatten(1))[:, 0] * {str(self.moves): 1.0}[str(self.moves)]


def odd(network: type[Broken], **arguments) -> GANModule:
    model = dcgan(**arguments)
    return GANModule(
        image=IMAGE,
        generator=model.generator,
        discriminator=network(),
        objective=model.losses.objective,
        optimizers=model.optimizer_makers,
        **arguments,
    )


CASES = {
    "dcgan": dcgan,
    "dcgan, micro-batches": lambda **a: dcgan(micro_batch=12, batch_norm_group=4, **a),
    "sngan": lambda **a: SNGAN(image=IMAGE, **SMALL, **a),
    "projection": lambda **a: ProjectionGAN(image=IMAGE, **SMALL, **a),
    "wgan-gp": wgan_gp,
    "progressive": progressive,
    "broken": lambda **a: odd(Broken, **a),
    "unstable": lambda **a: odd(Unstable, **a),
}


def play(make, compiled: bool, precision: str, backend: str, device: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = make(precision=precision).to(device)
    if compiled:
        model.compile(backend=backend)
    model.configure_optimizers()
    pixels = torch.randint(0, 256, (BATCH, 3, 16, 16), dtype=torch.uint8).to(device)
    labels = (torch.arange(BATCH) % 4).to(device)
    for step in range(STEPS):
        model.discriminator.moves = step
        model.training_step((pixels, labels), step)
    return model.state_dict()


def compare(
    make, precision: str = "fp64", backend: str = "aot_eager", device: str = "cpu"
) -> dict[str, float | int | list[str]]:
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    logging.getLogger("ganlab").addHandler(handler)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    eager, compiled = (play(make, compiled, precision, backend, device) for compiled in (False, True))
    logging.getLogger("ganlab").removeHandler(handler)
    far = max(float((a - b).abs().max()) for a, b in zip(eager.values(), compiled.values(), strict=True))
    return {"far": far, "graphs": torch._dynamo.utils.counters["stats"]["unique_graphs"], "logged": logged}


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["cuda"]:
        games = (name for name in CASES if name not in ("broken", "unstable"))
        found = {name: compare(CASES[name], backend="inductor", device="cuda") for name in games}
    else:
        # Inductor writes code for the graphs that this backend runs as they are, and takes its time for it.
        found = {name: compare(make) for name, make in CASES.items()}
        found["bf16"] = compare(dcgan, "bf16")
    print(json.dumps(found))
