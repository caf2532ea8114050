"""Networks without batch coupling, and a game of them: what is exact however a batch is cut."""

from dataclasses import fields
from functools import partial

import torch
from torch import nn
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode

from ganlab.engine.runtime import Runtime
from ganlab.models import GANModule
from ganlab.objectives import NonSaturating
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec

IMAGE = ImageSpec(8, 8, 1, 3)


class Generator(nn.Module):
    """Instance norm, so that there is a norm; every sample by itself."""

    latent, classes = 5, 3

    def __init__(self):
        super().__init__()
        self.classwise = nn.Embedding(3, 5)
        self.linear = nn.Linear(5, 4 * 16)
        self.layers = nn.Sequential(
            nn.InstanceNorm2d(4, affine=True), nn.Softplus(), nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh()
        )

    def forward(self, latents, labels):
        return self.layers(self.linear(latents + self.classwise(labels)).view(-1, 4, 4, 4))


class Discriminator(nn.Module):
    """Smooth, so that penalties are too."""

    classes = 3

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.Softplus(), nn.Conv2d(4, 3, 4), nn.Flatten())

    def forward(self, images, labels):
        return self.layers(images).gather(1, labels[:, None])[:, 0]


def with_runtime(arguments, **defaults):
    """Put those arguments that are settings of the run into a `runtime`."""
    settings = {field.name for field in fields(Runtime)} & arguments.keys()
    runtime = Runtime(**(defaults | {name: arguments[name] for name in settings}))
    return {"runtime": runtime} | {name: value for name, value in arguments.items() if name not in settings}


def game(**changes):
    """A module in float64, the same weights every time."""
    seed_everything(2)
    adam = partial(Adam, lr=3e-3, betas=(0.5, 0.99))
    arguments = {
        "image": IMAGE,
        "generator": Generator(),
        "discriminator": Discriminator(),
        "objective": NonSaturating(),
        "optimizers": {"generator": adam, "discriminator": adam},
        "ema_half_life": 50.0,
    }
    return GANModule(**(arguments | with_runtime(changes, group=2, precision="fp64")))


def batches(count, n, dtype=torch.float64):
    """Batches of noise with labels."""
    draw = torch.Generator().manual_seed(9)
    for _ in range(count):
        images = torch.rand(n, 1, 8, 8, generator=draw, dtype=torch.float64) * 2 - 1
        yield images.to(dtype), torch.randint(3, (n,), generator=draw)


def distance(a, b):
    """The largest difference between two state dicts."""
    assert a.keys() == b.keys()
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a)


class OnTheHost(TorchDispatchMode):
    """Notes what copies numbers of the host to a device, which no CUDA graph can, and what waits for one."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        waits = operator.overloadpacket is torch.ops.aten._local_scalar_dense and args[0].is_floating_point()
        if waits or operator.overloadpacket is torch.ops.aten.lift_fresh:  # (on a CPU, one_hot looks at its labels)
            self.noted.append(operator)
        return operator(*args, **(kwargs or {}))
