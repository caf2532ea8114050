"""Every shipped discriminator's whole loss, compiled as one graph, against eager and finite differences (float64).

Prints relative errors of the gradients by the weights, as JSON. The backend runs the graph as it is; Inductor, which
writes code for it and takes a minute, makes a whole run in `test_compiled`.
"""

import json
from dataclasses import replace
from functools import partial

import torch

from ganlab.engine.batch import Batch
from ganlab.engine.penalties import judge
from ganlab.networks import dcgan, progressive, resnet
from ganlab.objectives import NonSaturating
from ganlab.regularizers import R1, R2
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec

STEP = 1e-6  # small, since a slope is of one side of every leaky ReLU


ONE = {"r1": R1(weight=2.0)}
BOTH = {"r1": R1(weight=2.0), "r2": R2(weight=0.5)}


def loss(network, real, fake, labels, penalties):
    """The discriminator's: what its step adds up, as one function."""

    def score(images, labels, full=False):
        return network(images, labels)

    points = {"real": (real, labels), "fake": (fake, labels)}
    terms, logits = judge(score, points, Batch({"real": real, "labels": labels}, penalties))
    losses = [NonSaturating().discriminator(logits["real"], logits["fake"]), *terms.values()]
    return torch.stack(losses).sum(0).mean()


def gradients(function, network, *arguments):
    return torch.autograd.grad(function(network, *arguments), list(network.parameters()))


def differences(network, direction, *arguments):
    """The loss's slope along a direction of the weights, by the fourth-order central difference."""
    values = {}
    for factor in (-2, -1, 1, 2):
        with torch.no_grad():
            torch._foreach_add_(list(network.parameters()), direction, alpha=factor * STEP)
            values[factor] = loss(network, *arguments).item()
            torch._foreach_add_(list(network.parameters()), direction, alpha=-factor * STEP)
    return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * STEP)


def fading_in(*, image, width, conditional):
    """The discriminator of progressive growing, in the middle of a fade."""
    network = progressive.Discriminator(
        image=image, width_base=16, width_max=2 * width, conditional=conditional, group=3
    )
    network.grow(image.height, 0.3)
    return network


def check(make, size, classes, penalties):
    torch._dynamo.reset()
    seed_everything(1)
    image = ImageSpec(size, size, 1, classes)
    network = make(image=image, width=2, conditional=classes > 0).double()
    with torch.no_grad():  # away from the flat beginning, so that the penalty weighs something
        torch._foreach_mul_([p for p in network.parameters() if p.dim() > 1], 5.0)
    draw = torch.Generator().manual_seed(2)
    real, fake = (torch.rand(3, 1, size, size, generator=draw, dtype=torch.float64) * 2 - 1 for _ in range(2))
    labels = torch.arange(3) % classes if classes else torch.full((3,), -1)
    arguments = (real, fake, labels, penalties)
    eager = gradients(loss, network, *arguments)
    compiled = gradients(torch.compile(loss, fullgraph=True, backend="aot_eager"), network, *arguments)
    norm = sum(g.square().sum() for g in eager) ** 0.5
    far = sum((a - b).square().sum() for a, b in zip(eager, compiled, strict=True)) ** 0.5 / norm
    direction = [torch.randn(p.shape, generator=draw, dtype=p.dtype) for p in network.parameters()]
    direction = [d / torch.cat([d.flatten() for d in direction]).norm() for d in direction]
    slope = differences(network, direction, *arguments)
    off = [abs(sum((g * d).sum() for g, d in zip(gs, direction, strict=True)) / slope - 1) for gs in (eager, compiled)]
    plain = gradients(loss, network, real, fake, labels, {at: replace(p, weight=0.0) for at, p in penalties.items()})
    share = sum((a - b).square().sum() for a, b in zip(eager, plain, strict=True)) ** 0.5
    return {
        "penalty_gradient": float(share),
        "eager_against_differences": float(off[0]),
        "compiled_against_differences": float(off[1]),
        "compiled_against_eager": float(far),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = {
        "DCGAN, 32 px, R1": (dcgan.Discriminator, 32, 0, {"r1": R1(weight=2.0, every=3)}),
        "DCGAN, 16 px, 3 classes, R1 and R2": (dcgan.Discriminator, 16, 3, BOTH),
        "projection, 16 px, 3 classes, R1": (resnet.Discriminator, 16, 3, ONE),
        "progressive, 8 px fading in, R1": (fading_in, 8, 0, ONE),
        "WGAN-GP, 16 px, R1 and R2": (
            partial(resnet.Discriminator, spectral_norm=False, pooling="mean"),
            16,
            0,
            BOTH,
        ),
    }
    print(json.dumps({name: check(*case) for name, case in cases.items()}))
