"""AC-GAN (Odena et al. 2017), and a DCGAN conditioned by concatenation (Mirza & Osindero 2014), by hand."""

from collections.abc import Mapping

import torch
from by_hand import GROUP, ByHand, N, Paper, softly
from torch import Tensor

from ganlab.types import ImageSpec

IMAGE = ImageSpec(16, 16, 1, 3)
COMMON = {"width": 4, "latent": 4, "batch_norm_group": GROUP, "ema_half_life": 50.0}
ADAM = 2e-4, (0.5, 0.999)


def surprise(logits: Tensor, labels: Tensor) -> Tensor:
    """-log P(class) [n]; 0 without a class."""
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return torch.where(labels < 0, 0.0, -p[torch.arange(N), labels].log())


def acgan(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    z, y = loop.latents("discriminator"), loop.noise().classes("discriminator labels", N, 3)
    (real, real_class), (fake, fake_class) = d(batch["real"]), d(g(z, y).detach())
    loss = softly(-real) + softly(fake) + surprise(real_class, batch["labels"]) + surprise(fake_class, y)
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), *ADAM)
    loop.nimg += N
    z, y = loop.latents("generator"), loop.noise().classes("generator labels", N, 3)
    fake, fake_class = d(g(z, y))
    loop.adam("generator", loop.gradients(softly(-fake) + surprise(fake_class, y), "generator"), *ADAM)
    loop.average("generator", 0.5 ** (N / 50))


def concatenated(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, layers = loop.nets["generator"], loop.nets["discriminator"].layers

    def d(images: Tensor, labels: Tensor) -> Tensor:
        planes = torch.zeros(N, 3, 16, 16, dtype=torch.float64)
        planes[torch.arange(N), labels] = 1
        return layers(torch.cat([images, planes], 1))[:, 0]

    z, y = loop.latents("discriminator"), loop.noise().classes("discriminator labels", N, 3)
    loss = softly(-d(batch["real"], batch["labels"])) + softly(d(g(z, y).detach(), y))
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), *ADAM)
    loop.nimg += N
    z, y = loop.latents("generator"), loop.noise().classes("generator labels", N, 3)
    loop.adam("generator", loop.gradients(softly(-d(g(z, y), y)), "generator"), *ADAM)
    loop.average("generator", 0.5 ** (N / 50))


PAPERS = {
    "AC-GAN": Paper(model={"_target_": "ganlab.models.ACGAN", **COMMON}, by_hand=acgan, image=IMAGE),
    "AC-GAN without labels": Paper(
        model={"_target_": "ganlab.models.ACGAN", **COMMON}, by_hand=acgan, image=IMAGE, unlabelled=True
    ),
    "CGAN": Paper(
        model={"_target_": "ganlab.models.DCGAN", "conditional": True, "conditioning": "concat", **COMMON},
        by_hand=concatenated,
        image=IMAGE,
    ),
}
