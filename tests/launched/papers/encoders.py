"""Games with encoders, by hand: BiGAN, adversarial autoencoder, AVB, VAE, VAE/GAN and alpha-GAN."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from by_hand import GROUP, ByHand, N, Paper, softly
from torch import Tensor

from ganlab.types import ImageSpec

IMAGE = ImageSpec(8, 8, 1, 3)
KEPT = 0.5 ** (N / 50)
"""Of an average that is updated in every round."""
R1 = {"r1": {"_target_": "ganlab.regularizers.R1", "weight": 3.0, "every": 2}}
COMMON = {"ema_half_life": 50.0}


def decayed(moved, weight_decay):
    """Parameters and gradients with those of weight_decay |w|^2 / 2."""
    return moved[0], [g + weight_decay * p.detach() for p, g in zip(*moved, strict=True)]


def sums(images: Tensor) -> Tensor:
    return images.flatten(1).sum(1)


# --- BiGAN: both players from the same weights and codes


def bigan(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    z = 2 * loop.noise().uniform("pair latents", N, 4) - 1
    pairs(loop, number, batch["real"], z, loop.nets["encoder"], 2e-4, 0.01)


def ali(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    z, noise = loop.latents("pair"), loop.noise().normal("pair noise", N, 4)

    def encode(x: Tensor) -> Tensor:
        mean, log_std = loop.nets["encoder"](x)
        return mean + noise * log_std.exp()

    pairs(loop, number, batch["real"], z, encode, 1e-4, 0.0)


def pairs(
    loop: ByHand, number: int, x: Tensor, z: Tensor, e: Callable[[Tensor], Tensor], lr: float, weight_decay: float
) -> None:
    g, d, x = loop.nets["generator"], loop.nets["discriminator"], x.clone().requires_grad_()
    with torch.no_grad():
        codes, made = e(x), g(z)
    real = d(x, codes)
    loss = (softly(-real) + softly(d(made, z))) / 2
    if number % 2 == 0:
        (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
        loss = loss + 2 * 3.0 * sums(slope.square()) / 2
    of_d = decayed(loop.gradients(loss, "discriminator"), weight_decay)
    x = x.detach()
    loss = (softly(d(x, e(x))) + softly(-d(g(z), z))) / 2
    of_g = decayed(loop.gradients(loss, "generator", "encoder"), weight_decay)
    loop.adam("discriminator", of_d, lr, (0.5, 0.999))
    loop.adam("generator", of_g, lr, (0.5, 0.999))
    loop.average("generator", KEPT)
    loop.average("encoder", KEPT)
    loop.nimg += N


BIGAN = Paper(
    model={
        "_target_": "ganlab.models.BiGAN",
        "width": 8,
        "prior": {"_target_": "ganlab.priors.Uniform", "dims": 4},
        "batch_norm_group": GROUP,
        "weight_decay": 0.01,
        "regularizers": R1,
        **COMMON,
    },
    by_hand=bigan,
    image=IMAGE,
    graphs=3,
)


ALI = Paper(
    model={"_target_": "ganlab.models.ALI", "width": 2, "latent": 4, "batch_norm_group": GROUP, "regularizers": R1}
    | COMMON,
    by_hand=ali,
    image=ImageSpec(32, 32, 1, 3),
    graphs=3,
)


# --- adversarial autoencoder: SGD with momentum, two optimizers on the encoder


def sgd(loop: ByHand, player: str, moved, lr: float, momentum: float) -> None:
    for parameter, gradient in zip(*moved, strict=True):
        velocity = momentum * loop.moments.get((player, parameter), 0) + gradient
        loop.moments[player, parameter] = velocity
        parameter.data -= lr * velocity


def autoencoder(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    autoencoded(loop, batch["real"], loop.nets["critic"], lambda: 3 * loop.latents("critic"))


def shaped(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    told = torch.eye(4, dtype=torch.float64)[batch["labels"]]

    def prior() -> Tensor:
        angle = 2 * torch.pi / 3 * batch["labels"].double()
        ray = torch.stack([angle.cos(), angle.sin()], 1)
        along, across = loop.noise().normal("critic latents", N, 2).split(1, 1)
        return (1.4 + 0.5 * along) * ray + 0.1 * across * torch.stack([-ray[:, 1], ray[:, 0]], 1)

    autoencoded(loop, batch["real"], lambda z: loop.nets["critic"](torch.cat([z, told], 1)), prior)


def autoencoded(loop: ByHand, x: Tensor, c: Callable[[Tensor], Tensor], prior: Callable[[], Tensor]) -> None:
    e, g = loop.nets["encoder"], loop.nets["decoder"]
    loss = sums(((g(e(x)) + 1) / 2 - (x + 1) / 2).square()) / 2
    sgd(loop, "autoencoder", loop.gradients(loss, "encoder", "decoder"), 0.01, 0.9)
    loop.average("decoder", KEPT)
    loop.nimg += N
    z = prior()
    sgd(loop, "critic", loop.gradients(softly(-c(z)) + softly(c(e(x).detach())), "critic"), 0.1, 0.1)
    sgd(loop, "encoder", loop.gradients(softly(-c(e(x))), "encoder"), 0.1, 0.1)
    loop.average("encoder", KEPT)


AUTOENCODER = Paper(
    model={
        "_target_": "ganlab.models.AdversarialAutoencoder",
        "width": 8,
        "prior": {"_target_": "ganlab.priors.Normal", "dims": 4, "std": 3.0},
        **COMMON,
    },
    by_hand=autoencoder,
    image=IMAGE,
    graphs=3,
)


def semisupervised(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    e, g = loop.nets["encoder"], loop.nets["decoder"]
    critics, x = (loop.nets["class_critic"], loop.nets["style_critic"]), batch["real"]

    def codes() -> tuple[Tensor, Tensor]:
        scores, style = e(x)
        return scores.exp() / scores.exp().sum(1, keepdim=True), style

    shares, style = codes()
    loss = sums((g(style, shares) / 2 - x / 2).square()) / 2
    sgd(loop, "autoencoder", loop.gradients(loss, "encoder", "decoder"), 0.01, 0.9)
    loop.average("decoder", KEPT)
    loop.nimg += N
    classes = torch.eye(3, dtype=torch.float64)[loop.noise().classes("critics labels", N, 3)]
    pairs = zip(critics, (classes, loop.latents("critics")), codes(), strict=True)
    loss = sum((softly(-c(prior)) + softly(c(code.detach())) for c, prior, code in pairs), torch.zeros(()))
    sgd(loop, "critics", loop.gradients(loss, "style_critic", "class_critic"), 0.1, 0.1)
    shares, style = codes()
    sgd(loop, "encoder", loop.gradients(softly(-critics[0](shares)) + softly(-critics[1](style)), "encoder"), 0.1, 0.1)
    scores, _ = e(batch["other"])
    loss = scores.logsumexp(1) - scores[torch.arange(N), batch["other_labels"]]
    sgd(loop, "classifier", loop.gradients(loss, "encoder"), 0.1, 0.9)
    loop.average("encoder", KEPT)


# --- AVB: the critic in every round, the autoencoder in every second one


def cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    p = logits.sigmoid()
    return -sums((1 + x) / 2 * p.log() + (1 - x) / 2 * (1 - p).log())


def avb(loop: ByHand, number: int, batch: Mapping[str, Tensor], noise: int) -> None:
    e, g, t = (loop.nets[name] for name in ("encoder", "decoder", "critic"))
    x, draw = batch["real"], loop.noise()
    z, mean, variance = (each.detach() for each in e(x, draw.normal("critic noise", N, noise)))
    other = draw.normal("critic latents", N, 4)
    loss = softly(-t(x, (z - mean) / variance.sqrt())) + softly(t(x, other))
    loop.adam("critic", loop.gradients(loss, "critic"), 1e-4, (0.5, 0.999))
    loop.nimg += N
    if number % 2:
        z, mean, variance = e(x, loop.noise().normal("autoencoder noise", N, noise))
        standard = (z - mean.detach()) / variance.detach().sqrt()
        log_r, log_p = -(standard.square() + variance.detach().log()) / 2, -z.square() / 2
        loss = cross_entropy(g(z), x) + t(x, standard) + (log_r - log_p).sum(1)
        loop.adam("autoencoder", loop.gradients(loss, "encoder", "decoder"), 2e-3, (0.5, 0.999))
        for name in ("decoder", "encoder"):
            loop.average(name, KEPT**2)


AVB = {
    "_target_": "ganlab.models.AVB",
    "width": 8,
    "critic_width": 8,
    "latent": 4,
    "noise": 6,
    "lr": 2e-3,
    **COMMON,
}
ADAPTIVE = {"_target_": "ganlab.networks.avb.AdaptiveEncoder", "width": 8, "latent": 4, "noise": 6, "bases": 3}


# --- VAE and VAE/GAN: all players from the same weights, codes and noise; a gate


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


def vae(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    e, g, x = loop.nets["encoder"], loop.nets["decoder"], batch["real"]
    mean, log_variance = e(x)
    again = g(mean + log_variance.exp().sqrt() * loop.noise().normal("autoencoder noise", N, 4))
    loss = sums((again - x).square()) / 2 + divergence(mean, log_variance)
    loop.adam("autoencoder", loop.gradients(loss, "encoder", "decoder"), 1e-4, (0.9, 0.999))
    for name in ("encoder", "decoder"):
        loop.average(name, KEPT)
    loop.nimg += N


def rmsprop(loop: ByHand, player: str, moved, lr: float, weight_decay: float) -> None:
    for parameter, gradient in zip(*decayed(moved, weight_decay), strict=True):
        square = 0.99 * loop.moments.get((player, parameter), 0) + 0.01 * gradient.square()
        loop.moments[player, parameter] = square
        parameter.data -= lr * gradient / (square.sqrt() + 1e-8)


def vaegan(loop: ByHand, number: int, batch: Mapping[str, Tensor], gamma: float, low: float, high: float) -> None:
    e, g, d = (loop.nets[name] for name in ("encoder", "decoder", "discriminator"))
    x, z, noise = batch["real"], loop.latents("all"), loop.noise().normal("all noise", N, 4)

    def seen() -> tuple[Tensor, ...]:
        mean, log_variance = e(x)
        again, made = g(mean + log_variance.exp().sqrt() * noise), g(z)
        (real, near), (_, far), (fake, _) = d(x), d(again), d(made)
        loss = (far - near.detach()).square().sum(1) / 2
        return softly(-real), softly(fake), loss, divergence(mean, log_variance)

    real, fake, loss, prior = seen()
    of_encoder = loop.gradients(loss + prior, "encoder")
    real, fake, loss, _ = seen()
    of_decoder = loop.gradients(gamma * loss - (1 - gamma) * fake, "decoder")
    real, fake, _, _ = seen()
    costs = real.mean(), fake.mean()
    of_discriminator = loop.gradients(real + fake, "discriminator")
    steps = {"encoder": of_encoder, "decoder": of_decoder, "discriminator": of_discriminator}
    stop = {"discriminator": min(costs) < low, "decoder": max(costs) > high}
    if all(stop.values()):
        stop = {}
    for name, moved in steps.items():
        if not stop.get(name, False):
            rmsprop(loop, name, moved, 1e-4, 0.01)
    for name in ("encoder", "decoder"):
        loop.average(name, KEPT)
    loop.nimg += N


VAEGAN = Paper(
    model={
        "_target_": "ganlab.models.VAEGAN",
        "width": 4,
        "latent": 4,
        "batch_norm_group": GROUP,
        "gamma": 0.1,
        "equilibrium": 0.68,
        "margin": 0.05,
        "lr": 1e-4,
        "weight_decay": 0.01,
        **COMMON,
    },
    by_hand=partial(vaegan, gamma=0.1, low=0.63, high=0.73),
    image=IMAGE,
    graphs=3,
)


# --- alpha-GAN: four players, one after the other


def alphagan(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    e, c, x = loop.nets["encoder"], loop.nets["critic"], batch["real"]
    none = torch.full((N,), -1)

    def g(codes: Tensor) -> Tensor:
        images: Tensor = loop.nets["generator"](codes, none)
        return images

    def d(images: Tensor) -> Tensor:
        logits: Tensor = loop.nets["discriminator"](images, none)
        return logits

    def move(player: str, loss: Tensor) -> None:
        loop.adam(player, loop.gradients(loss, player), 5e-4, (0.5, 0.9))

    move("encoder", 20 * (g(e(x)) - x).abs().mean((1, 2, 3)) - c(e(x)))
    loop.average("encoder", KEPT)
    loop.nimg += N
    again = g(e(x).detach())
    move("generator", 20 * (again - x).abs().mean((1, 2, 3)) - d(again) - d(g(loop.latents("generator"))))
    loop.average("generator", KEPT)
    fakes = g(e(x)).detach(), g(loop.latents("discriminator")).detach()
    move("discriminator", softly(-d(x)) + softly(d(fakes[0])) + softly(d(fakes[1])))
    move("critic", softly(-c(loop.latents("critic"))) + softly(c(e(x).detach())))


PAPERS = {
    "ALI": ALI,
    "BiGAN": BIGAN,
    "adversarial autoencoder": AUTOENCODER,
    "adversarial autoencoder, shaped by classes": Paper(
        model={
            "_target_": "ganlab.models.ShapedAutoencoder",
            "width": 8,
            "prior": {"_target_": "ganlab.priors.Mixture", "modes": 3},
            **COMMON,
        },
        by_hand=shaped,
        image=IMAGE,
        graphs=3,
    ),
    "adversarial autoencoder, few labels": Paper(
        model={"_target_": "ganlab.models.SemiSupervisedAutoencoder", "width": 8, "latent": 4, **COMMON},
        by_hand=semisupervised,
        image=IMAGE,
        other=IMAGE,
        unlabelled=True,
        graphs=4,
    ),
    "AVB": Paper(model=AVB, by_hand=partial(avb, noise=6), image=IMAGE),
    "AVB, adaptive contrast": Paper(
        model=AVB | {"encoder": ADAPTIVE | {"group": GROUP}}, by_hand=partial(avb, noise=6), image=IMAGE
    ),
    "VAE": Paper(
        model={
            "_target_": "ganlab.models.VAE",
            "width": 4,
            "latent": 4,
            "batch_norm_group": GROUP,
            "lr": 1e-4,
            **COMMON,
        },
        by_hand=vae,
        image=IMAGE,
        graphs=1,
    ),
    "VAE/GAN": VAEGAN,
    "alpha-GAN": Paper(
        model={
            "_target_": "ganlab.models.AlphaGAN",
            "width": 4,
            "critic_width": 8,
            "latent": 4,
            "batch_norm_group": GROUP,
            **COMMON,
        },
        by_hand=alphagan,
        image=ImageSpec(16, 16, 1, 3),
        graphs=4,
    ),
}
