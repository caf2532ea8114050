"""The toy games of `games.py`, by hand."""

from collections.abc import Callable
from functools import partial
from typing import Any

import games
import torch
from by_hand import GROUP, SEED, ByHand, N, Paper, softly
from torch import Tensor

from ganlab.seeding import Noise
from ganlab.types import ImageSpec


def bigan(loop, number, x):
    g, e, d = (loop.nets[name] for name in ("generator", "encoder", "discriminator"))
    z = loop.latents("discriminator")
    x = x.clone().requires_grad_()
    with torch.no_grad():
        fake, codes = g(z), e(x)
    real_logits = d(x, codes)
    loss = softly(-real_logits) + softly(d(fake, z))
    if number % 2 == 0:
        (slope,) = torch.autograd.grad(real_logits.sum(), x, create_graph=True)
        loss = loss + 2 * 2.0 * slope.square().sum((1, 2, 3)) / 2
    loop.adam("discriminator", loop.gradients(loss, "discriminator"))
    loop.nimg += N
    z = loop.latents("generator")
    loss = softly(-d(g(z), z)) + softly(d(x.detach(), e(x.detach())))
    loop.adam("generator", loop.gradients(loss, "generator", "encoder"))
    loop.average("generator", 0.5 ** (N / 50))
    loop.average("encoder", 0.5 ** (N / 25))


def autoencoder(loop, number, x, simultaneous=False):
    e, g, c = (loop.nets[name] for name in ("encoder", "generator", "critic"))
    nimg = loop.nimg
    lr = 2e-3 + min((nimg if simultaneous else nimg + N) / 100, 1) * (5e-4 - 2e-3)

    def of_autoencoder():
        return loop.gradients((g(e(x)) - x).square().mean((1, 2, 3)), "encoder", "generator")

    def of_critic():
        return loop.gradients(softly(-c(loop.latents("critic"))) + softly(c(e(x).detach())), "critic")

    def of_encoder():
        return loop.gradients(softly(-c(e(x))), "encoder")

    if simultaneous:
        first, second, third = of_autoencoder(), of_critic(), of_encoder()
        loop.adam("autoencoder", first)
        loop.adam("critic", second, lr)
    else:
        loop.adam("autoencoder", of_autoencoder())
        loop.nimg += N
        loop.adam("critic", of_critic(), lr)
    loop.average("generator", 0.9)
    if number % 2:
        loop.adam("encoder", third if simultaneous else of_encoder())
        loop.average("encoder", 0.5 ** (2 * N / 50))
    loop.nimg = nimg + N


def alpha_gan(loop, number, x):
    e, g, c, d = (loop.nets[name] for name in ("encoder", "generator", "codes", "images"))
    near = (g(e(x)) - x).abs().mean((1, 2, 3))
    loop.adam("encoder", loop.gradients(softly(-c(e(x))) + near, "encoder"))
    loop.nimg += N
    again = g(e(x))
    loss = softly(-d(again)) + softly(-d(g(loop.latents("generator")))) + (again - x).abs().mean((1, 2, 3))
    loop.adam("generator", loop.gradients(loss, "generator"))
    loop.average("generator", 0.5 ** (N / 50))
    if number % 3 == 0:
        loss = softly(-c(loop.latents("codes"))) + softly(c(e(x).detach()))
        loop.adam("codes", loop.gradients(loss, "codes"))
    if number % 2:
        made = g(loop.latents("images")).detach()
        loss = softly(-d(x)) + softly(d(g(e(x)).detach())) + softly(d(made))
        loop.adam("images", loop.gradients(loss, "images"))


def remembering(loop, number, x):
    g, c = loop.nets["generator"], loop.nets["critic"]
    if not number:
        loop.pool, loop.strength, loop.square = torch.zeros(8, 1, 8, 8, dtype=torch.float64), 0.1, {}
    draw = Noise(SEED, loop.nimg, 0, GROUP, dtype=torch.float64)
    made, noise = g(loop.latents("critic")).detach(), draw.normal("critic noise", N, 1, 8, 8)
    slots = Noise(SEED, loop.nimg, 0, dtype=torch.float64).uniform("slots", 8).argsort()[: N // 2]
    fake = made.clone()
    fake[::2], loop.pool[slots] = loop.pool[slots], made[::2]
    at_real = c(x + loop.strength * noise)
    loss = softly(-at_real) + softly(c(fake + loop.strength * noise))
    parameters, gradients = loop.gradients(loss, "critic")
    loop.skipped = getattr(loop, "skipped", 0) + (loss.mean() < 1.3862).item()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if loss.mean() >= 1.3862:
            loop.square[parameter] = 0.99 * loop.square.get(parameter, 0) + 0.01 * gradient**2
            parameter.data -= 1e-2 * gradient / (loop.square[parameter].sqrt() + 1e-8)
        parameter.data.clamp_(-0.3, 0.3)
    loop.strength = max(0.0, loop.strength + 0.01 * at_real.sign().mean().item())
    loop.nimg += N
    noise = Noise(SEED, loop.nimg, 0, GROUP, dtype=torch.float64).normal("generator noise", 2 * N, 1, 8, 8)
    loss = softly(-c(g(loop.latents("generator", 2 * N)) + loop.strength * noise))
    loop.adam("generator", loop.gradients(loss, "generator"))
    loop.average("generator", 0.5 ** (N / 50))


LOOPS: dict[str, Callable[[ByHand, int, Tensor], None]] = {
    "BiGAN": bigan,
    "autoencoder": autoencoder,
    "autoencoder, simultaneous": partial(autoencoder, simultaneous=True),
    "alpha-GAN": alpha_gan,
    "remembering": remembering,
}
GRAPHS = {"BiGAN": 3, "autoencoder": 3, "autoencoder, simultaneous": 3, "alpha-GAN": 4}


def of_reals(act: Callable[[ByHand, int, Tensor], None]) -> Any:
    """A loop that takes a whole batch, from one that takes the reals."""
    return lambda loop, number, batch: act(loop, number, batch["real"])


PAPERS = {
    f"toy {name}": Paper(
        model=games.GAMES[name],
        by_hand=of_reals(act),
        image=ImageSpec(8, 8, 1),
        coupled=name == "remembering",
        graphs=GRAPHS.get(name, 2),
    )
    for name, act in LOOPS.items()
}
