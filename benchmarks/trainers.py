"""Other people's GAN trainers on images in memory: torch-mimicry, and stylegan2-pytorch.

    pip install --no-deps --target peers torch-mimicry==0.1.16 stylegan2-pytorch==1.9.0 kornia==0.9.0 kornia_rs==0.2.0
    PYTHONPATH=peers python benchmarks/peers_train.py

What they import and training does not need stands empty: TensorFlow's metrics, loggers, readers of other data. Each
plays its own step in its own loop, without its logs, its pictures and its checkpoints before the end.
"""

import importlib
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar
from unittest.mock import MagicMock, patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

NEVER = 10**9
EMPTY = {
    "torch_mimicry": ["torch_mimicry.metrics", "torch_mimicry.datasets", "torch.utils.tensorboard", "skimage"],
    "stylegan2_pytorch": ["fire", "aim", "vector_quantize_pytorch"],
}
"""What each package imports and its training does not need."""


class Batches:
    """Real images [n, 3, h, w] as floats and labels [n], in turns for ever; notes when each batch is asked for."""

    def __init__(self, images: Tensor, labels: Tensor, batch: int) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch
        self.asked: list[float] = []

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            self.asked.append(time.process_time())
            at = (len(self.asked) - 1) % len(self) * self.batch_size
            yield self.images[at : at + self.batch_size], self.labels[at : at + self.batch_size]

    def seconds(self, run: object, steps: int) -> float:
        """Return the processor's time from the first batch that a run asks for to the one after `steps` of them."""
        self.asked.clear()
        run()
        return self.asked[steps] - self.asked[0]


class Mimicry:
    """torch-mimicry's networks and `Trainer`, at 32 px: `sngan`, `cgan_pd` or `wgan_gp`, at one width."""

    NAMES: ClassVar = {"sngan": "SNGAN", "cgan_pd": "CGANPD", "wgan_gp": "WGANGP"}

    def __init__(
        self,
        game: str,
        width: int,
        d_steps: int,
        batches: Batches,
        folder: Path,
        lr: float = 2e-4,
        decay: str | None = None,
    ) -> None:
        nets = imported("torch_mimicry", f"torch_mimicry.nets.{game}")
        self.package, self.batches, self.folder, self.d_steps = sys.modules["torch_mimicry"], batches, folder, d_steps
        classes = {"num_classes": 10} if game == "cgan_pd" else {}
        self.generator = getattr(nets, self.NAMES[game] + "Generator32")(ngf=width, **classes)
        self.discriminator = getattr(nets, self.NAMES[game] + "Discriminator32")(ndf=width, **classes)
        self.adams = [Adam(net.parameters(), lr, (0.0, 0.9)) for net in (self.discriminator, self.generator)]
        self.decay, self.runs = decay, 0

    def train(self, rounds: int, save_every: int = NEVER) -> Path:
        """Make so many generator steps from the start of a new log; return its folder."""
        self.runs += 1
        folder = self.folder / str(self.runs)
        self.package.training.Trainer(
            netD=self.discriminator,
            netG=self.generator,
            optD=self.adams[0],
            optG=self.adams[1],
            dataloader=self.batches,
            num_steps=rounds,
            n_dis=self.d_steps,
            lr_decay=self.decay,
            log_dir=str(folder),
            device=torch.device("cpu"),
            print_steps=NEVER,
            vis_steps=NEVER,
            log_steps=NEVER,
            save_steps=save_every,
        ).train()
        return folder

    def run(self, steps: int) -> float:
        """Return the seconds of so many discriminator steps, a multiple of its own to a generator's."""
        return self.batches.seconds(partial(self.train, steps // self.d_steps + 1), steps)

    def networks(self) -> list[nn.Module]:
        return [self.generator, self.discriminator]


def repeat_pixels(peer: Mimicry) -> None:
    """Let the generator enlarge by nearest neighbours, as the paper's code does; mimicry's interpolates bilinearly."""
    for block in peer.generator.modules():
        if hasattr(block, "_upsample_conv"):
            block._upsample_conv = lambda features, conv: conv(F.interpolate(features, scale_factor=2))


def keep_shortcuts(peer: Mimicry) -> None:
    """Let the discriminator's shortcuts see the features; mimicry's ReLU has overwritten them, its negatives are 0."""
    for layer in peer.discriminator.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False


def take_epsilon(peer: Mimicry) -> None:
    """Give batch norm the epsilon of the paper's code, Chainer's; mimicry has torch's, half of it."""
    for layer in peer.generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 2e-5


def zero_biases(peer: Mimicry) -> None:
    """Begin with biases of 0, as the paper's code does; mimicry leaves them as torch draws them."""
    for layer in [*peer.generator.modules(), *peer.discriminator.modules()]:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.zeros_(layer.bias)


CHANGES = {
    "pixels repeated": repeat_pixels,
    "shortcuts kept": keep_shortcuts,
    "Chainer's epsilon": take_epsilon,
    "biases from 0": zero_biases,
}
"""What makes mimicry's networks those of the paper's code."""


class StyleGAN2Pytorch:
    """stylegan2-pytorch's networks, all maps of one width, and its `Trainer.train`, one call a round.

    It counts from 6,000 rounds on, where its path length takes part; its hinge loss, penalties on reals and fakes in
    every fourth round, the path length in every 32nd.
    """

    def __init__(self, size: int, width: int, batches: Batches, folder: Path) -> None:
        with patch.object(torch.cuda, "is_available", lambda: True):  # it insists
            package = imported("stylegan2_pytorch", "stylegan2_pytorch.stylegan2_pytorch")
        package.Generator = partial(package.Generator, fmap_max=width)  # its average forgets the limit
        for kind in (Tensor, nn.Module):
            kind.cuda = lambda self, *_: self
        self.trainer = package.Trainer(
            base_dir=folder,
            image_size=size,
            network_capacity=width,
            fmap_max=width,
            batch_size=batches.batch_size,
            save_every=NEVER,
            evaluate_every=NEVER,
            latent_dim=width,
        )
        self.trainer.init_GAN()
        self.trainer.steps, self.batches = 6000, batches
        self.trainer.save = self.trainer.evaluate = lambda *_: None

    def run(self, steps: int) -> float:
        """Return the seconds of so many rounds."""
        self.trainer.loader = (images for images, _ in self.batches)
        return self.batches.seconds(lambda: [self.trainer.train() for _ in range(steps + 1)], steps)

    def networks(self) -> list[nn.Module]:
        gan = self.trainer.GAN
        return [nn.ModuleList([gan.S, gan.G]), gan.D]


def imported(package: str, module: str):
    """Import a module of a package, with what it imports without need empty."""
    sys.modules.update({name: MagicMock() for name in EMPTY[package]})
    return importlib.import_module(module)
