"""Adversarial variational Bayes where the truth is known: a posterior on a grid, and a divergence in closed form.

Four points and two dimensions of code: the best bound is ln 4, with a quarter of the prior for each point, and no
normal distributions of codes reach it. The decoder's exact posterior is computed on a grid.
"""

import math
from collections.abc import Iterator

import torch
from held_out import model_of, train
from rows import Row
from torch import Tensor, nn

from ganlab.engine.batch import Batch
from ganlab.models import AVB
from ganlab.models.autoencoding import divergence
from ganlab.models.distances import cross_entropy
from ganlab.networks.avb import dense
from ganlab.seeding import Noise, seed_everything

CONFIG, POINTS = "toy/avb.yaml", (2 * torch.eye(4) - 1)[:, :, None, None]
SIDE, EXTENT = 240, 6.0
"""Points along a side of the grid, and the codes that it covers, up and down."""
BINS, DRAWS = 24, 20_000
"""Cells along a side in which codes are counted; codes for each point."""


class NormalEncoder(nn.Module):
    """q(z | x) = N(mean(x), variance(x)): with r(z | x) = q(z | x) and no critic, AVB is a variational autoencoder."""

    def __init__(self, width: int, fixed: bool = False) -> None:
        super().__init__()
        self.noise, self.layers = 2, dense(4, width, 4)
        self.adaptive = not fixed

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.layers(images.flatten(1)).chunk(2, 1)
        return mean, log_variance

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.moments(images)
        codes = mean + (log_variance / 2).exp() * noise
        if self.adaptive:
            return codes, mean, log_variance.exp()
        return codes, torch.zeros_like(codes), torch.ones_like(codes)

    def codes(self, images: Tensor, noise: Tensor) -> Tensor:
        return self(images, noise)[0]


class NoCritic(nn.Module):
    """0, with a weight to move."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        return 0 * self.weight * codes.sum(1)


def bound(model: AVB) -> float:
    """Minus the bound, from fresh draws: the reconstruction, and the divergence as the critic has it."""
    draw, images = Noise(1, 0), POINTS.repeat(DRAWS // 4, 1, 1, 1)
    with torch.no_grad():
        loss, _ = model.autoencoder_loss(
            Batch({"real": images, "noise": draw.normal("bound", len(images), model.dims)})
        )
    return float(loss["loss"].mean())


def exact(model: AVB) -> tuple[float, Tensor]:
    """-log p(x), averaged over the points, and the posterior's share of each cell [4, BINS, BINS], from the grid."""
    axis = (torch.arange(SIDE) + 0.5) / SIDE * 2 * EXTENT - EXTENT
    codes = torch.cartesian_prod(axis, axis)
    log_prior = -codes.square().sum(1) / 2 - math.log(2 * math.pi) + 2 * math.log(2 * EXTENT / SIDE)
    with torch.no_grad():
        logits = model.decoder(codes)
        joint = torch.stack([log_prior - cross_entropy(logits, x.expand_as(logits)) for x in POINTS])
    evidence = joint.logsumexp(1)
    posterior = (joint - evidence[:, None]).exp().view(4, BINS, SIDE // BINS, BINS, SIDE // BINS)
    return float(-evidence.mean()), posterior.sum((2, 4))


def drawn(model: AVB) -> Tensor:
    """The share of the encoder's codes in each cell [4, BINS, BINS]."""
    shares = []
    for number, x in enumerate(POINTS):
        noise = Noise(2, number).normal("codes", DRAWS, model.dims)
        with torch.no_grad():
            codes = model.encoder(x.expand(DRAWS, -1, -1, -1), noise)[0]
        cells = ((codes + EXTENT) / (2 * EXTENT) * BINS).long().clamp(0, BINS - 1)
        shares.append((cells[:, 0] * BINS + cells[:, 1]).bincount(minlength=BINS**2).view(BINS, BINS) / DRAWS)
    return torch.stack(shares)


def four_points(seed: int) -> Iterator[Row]:
    """The config, and the same with normal distributions of codes."""
    images, labels = POINTS.repeat(64, 1, 1, 1), torch.arange(4).repeat(64)
    model, rounds, batch = model_of(CONFIG, seed)
    train(model, rounds, images, labels, batch)
    assert isinstance(model, AVB)
    evidence, posterior = exact(model)
    apart = float((drawn(model) - posterior).abs().sum((1, 2)).mean() / 2)
    found = bound(model)
    said = f"-bound (best {math.log(4):.3f}; exact -log p {evidence:.3f})"
    yield Row("AVB, four points", said, found, "<= 1.50", found <= 1.5)
    yield Row("AVB, four points", "total variation from the exact posterior", apart, "<= 0.20", apart <= 0.2)
    seed_everything(seed)
    plain = AVB(image=model.image, encoder=NormalEncoder(64), critic=NoCritic(), lr=1e-3, critic_steps=1)
    train(plain, rounds // 2, images, labels, batch)  # as many steps of the autoencoder
    found = bound(plain)
    yield Row("VAE, four points", "-bound with normal codes", found, ">= 1.60", found >= 1.6)


def known_divergence(seed: int) -> Iterator[Row]:
    """The critic alone, against normal distributions of codes that do not move: T* = log q(z | x) - log p(z)."""
    images, labels = POINTS.repeat(64, 1, 1, 1), torch.arange(4).repeat(64)
    seed_everything(seed)
    image = model_of(CONFIG, seed)[0].image
    model = AVB(image=image, encoder=NormalEncoder(64, fixed=True), critic_width=64, critic_lr=2e-3)
    nn.init.normal_(model.encoder.layers[-1].weight, 0.0, 1.0)
    nn.init.constant_(model.encoder.layers[-1].bias, -0.5)
    model.configure_optimizers()
    for _ in range(600):
        model.step("critic", {"real": images, "labels": labels})
    with torch.no_grad():
        truth = float(divergence(*model.encoder.moments(POINTS)).mean())
        many = images.repeat(80, 1, 1, 1)
        ours = float(model.critic(many, model.encoder(many, Noise(3, 0).normal("z", len(many), 2))[0]).mean())
    yield Row(
        "AVB, normal codes", "divergence by the critic", ours, f"{truth:.3f} +- 5 %", abs(ours / truth - 1) < 0.05
    )


def rows(seed: int) -> Iterator[Row]:
    """Both."""
    yield from known_divergence(seed)
    yield from four_points(seed)
