"""Games played by hand, as a reader of their papers would write them in plain torch: what `train.py` compares with.

A fast one has channels_last, fused Adam, and both networks under `torch.compile`; torch cannot compile a network inside
a penalty, so that pass is not compiled.
"""

import copy
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from ganlab.engine.game import Game
from ganlab.engine.optimizers import MakeOptimizer, scheduled, value_at
from ganlab.layers.spectral import iterate_power
from ganlab.regularizers import Point


class Loop:
    """A player after the other; penalties on the discriminator's input, orthogonal weights, spectral norm."""

    def __init__(self, game: Game, batches: Iterable[Any], fast: bool) -> None:
        self.game, self.batches, self.fast = game, batches, fast
        if not fast:
            game.to(memory_format=torch.contiguous_format)
        self.g, self.d = game.generator, game.discriminator
        self.average = copy.deepcopy(self.g)
        self.penalties = game.players["discriminator"].regularizers.values()
        self.g_adam, self.d_adam = (
            constant(game.players[name].optimizer)(network.parameters(), fused=fast or None)
            for name, network in (("generator", self.g), ("discriminator", self.d))
        )
        self.moved = game.weights("generator")
        self.compile_networks()

    def compile_networks(self) -> None:
        self.generate, self.judge = (torch.compile(net) if self.fast else net for net in (self.g, self.d))

    def latents(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(n, self.game.latent), torch.randint(0, max(self.game.classes, 1), (n,))

    def floats(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = (pixels if self.fast else pixels.contiguous()).float()
        return (pixels + torch.rand_like(pixels)) / 128 - 1 if self.game.dequantize else pixels / 127.5 - 1

    def penalty(self, points: dict[str, tuple[torch.Tensor, torch.Tensor]], logits: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for penalty in self.penalties:
            images, labels = points[penalty.at[0]]
            slope = None
            if penalty.gradient:
                images = images.detach().requires_grad_()
                (slope,) = torch.autograd.grad(self.d(images, labels).sum(), images, create_graph=True)
            value = penalty.penalty(Point((images, labels), logits, slope, self.d))
            total = total + penalty.weight * penalty.every * value.mean()
        return total

    def discriminator_step(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        real = self.floats(pixels)
        iterate_power(self.d)
        z, classes = self.latents(len(real))
        with torch.no_grad():
            fake = self.generate(z, classes)
        real_logits, fake_logits = self.judge(real, labels), self.judge(fake, classes)
        loss = self.game.objective.discriminator(real_logits, fake_logits).mean()
        if self.penalties:
            interpolates = real.lerp(fake, torch.rand(len(real), 1, 1, 1)), labels
            loss = loss + self.penalty({"real": (real, labels), "interpolates": interpolates}, real_logits)
        self.d_adam.zero_grad()
        loss.backward()
        self.d_adam.step()

    def generator_loss(self, n: int) -> torch.Tensor:
        z, classes = self.latents(n)
        loss = self.game.objective.generator(self.judge(self.generate(z, classes), classes)).mean()
        for penalty in self.game.players["generator"].regularizers.values():  # orthogonal weights
            loss = loss + penalty.weight * penalty.penalty(Point(self.moved, loss, None, self.g, "weights"))
        return loss

    def generator_step(self, *given: Any) -> None:
        self.d.requires_grad_(False)
        iterate_power(self.g)
        loss = self.generator_loss(*given)
        self.g_adam.zero_grad()
        loss.backward()
        self.d.requires_grad_(True)
        self.g_adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.g.parameters()), 0.005)

    def run(self, steps: int) -> float:
        start = time.process_time()
        for step, (pixels, labels) in zip(range(steps), self.batches, strict=False):
            self.discriminator_step(pixels, labels)
            if (step + 1) % self.game.players["generator"].every == 0:
                self.generator_step(round(len(pixels) * self.game.players["generator"].batch))
        return time.process_time() - start


class R3GANLoop(Loop):
    """Pairs of one label, R1 and R2 on every batch, and new reals for the generator."""

    def discriminator_step(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        real, gamma = (
            self.floats(pixels).requires_grad_(),
            self.game.players["discriminator"].regularizers["r1"].weight(0),
        )
        z, _ = self.latents(len(real))
        with torch.no_grad():
            fake = self.generate(z, labels)
        of_real, of_fake = self.d(real, labels), self.d(fake.requires_grad_(), labels)
        slopes = torch.autograd.grad((of_real.sum(), of_fake.sum()), (real, fake), create_graph=True)
        penalty = sum(slope.square().sum((1, 2, 3)).mean() for slope in slopes)
        self.d_adam.zero_grad()
        (F.softplus(of_fake - of_real).mean() + gamma / 2 * penalty).backward()
        self.d_adam.step()

    def generator_loss(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        real = self.floats(pixels)
        z, _ = self.latents(len(real))
        return F.softplus(self.judge(real, labels) - self.judge(self.generate(z, labels), labels)).mean()

    def run(self, steps: int) -> float:
        start = time.process_time()
        for _, batch in zip(range(steps), self.batches, strict=False):
            self.discriminator_step(batch["real"], batch["labels"])
            self.generator_step(batch["other"], batch["other_labels"])
        return time.process_time() - start


class StyleGAN2Loop(Loop):
    """Mixed styles, noise in each layer, lazy R1 and path length, and the mean of w."""

    number, length = 0, 0.0

    def styles(self, n: int) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        sizes, none = self.g.noise_sizes, torch.zeros(n, dtype=torch.int64)
        first, second = (self.g.mapping(torch.randn(n, self.g.latent), none) for _ in range(2))
        cut = torch.where(torch.rand(n) < self.game.mixing, torch.randint(1, len(sizes) + 1, (n,)), len(sizes) + 1)
        late = torch.arange(len(sizes) + 1) >= cut[:, None]
        w = torch.where(late[..., None], self.g.repeated(second), self.g.repeated(first))
        return first, w, [torch.randn(n, 1, size, size) for size in sizes]

    def discriminator_step(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        real, r1 = self.floats(pixels), self.game.players["discriminator"].regularizers["r1"]
        with torch.no_grad():
            _, w, maps = self.styles(len(real))
            fake = self.synthesize(w, *maps)
        due = self.number % r1.every == 0
        of_real = (self.d if due else self.judge)(real.requires_grad_(due), labels)
        loss = (F.softplus(-of_real) + F.softplus(self.judge(fake, labels))).mean()
        if due:
            (slope,) = torch.autograd.grad(of_real.sum(), real, create_graph=True)
            loss = loss + r1.every * r1.weight * slope.square().sum((1, 2, 3)).mean() / 2
        self.d_adam.zero_grad()
        loss.backward()
        self.d_adam.step()

    def generator_loss(self, n: int) -> torch.Tensor:
        path, (first, w, maps) = self.game.players["generator"].regularizers["path_length"], self.styles(n)
        due = self.number % path.every == 0
        fake = (self.g.synthesize if due else self.synthesize)(w, *maps)
        loss = F.softplus(-self.judge(fake, None)).mean()
        if due:
            direction = torch.randn_like(fake) / (fake.shape[2] * fake.shape[3]) ** 0.5
            (slope,) = torch.autograd.grad((fake * direction).sum(), w, create_graph=True)
            length = slope.square().sum(2).mean(1).sqrt()
            loss = loss + path.every * path.weight * (length - self.length).square().mean()
            self.length = self.length + 0.01 * (length.detach().mean() - self.length)
        with torch.no_grad():
            self.g.w_mean.lerp_(first.mean(0), 0.005)
        self.number += 1
        return loss

    def compile_networks(self) -> None:
        super().compile_networks()
        self.synthesize = torch.compile(self.g.synthesize) if self.fast else self.g.synthesize


class ProjectedLoop(Loop):
    """DiffAugment before the discriminator."""

    def compile_networks(self) -> None:
        super().compile_networks()
        judge, change = self.judge, self.game.augment
        self.judge = lambda images, labels: judge(change(images, {"uniform": torch.rand(len(images), 7)}), labels)


LOOPS = {"R3GAN": R3GANLoop, "StyleGAN2": StyleGAN2Loop, "Projected": ProjectedLoop}
"""By the first word of a case; all others are `Loop`."""


def constant(make: MakeOptimizer) -> MakeOptimizer:
    """What makes the optimizer without schedules: with their first values."""
    return partial(make, **{name: value_at(value, 0) for name, value in scheduled(make).items()})


def by_hand(case: str, game: Game, batches: Iterable[Any], fast: bool) -> Loop:
    return LOOPS.get(case.split()[0], Loop)(game, batches, fast)
