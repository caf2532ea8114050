"""StyleGAN2 (Karras et al. 2020), by hand."""

from collections.abc import Mapping

import torch
from by_hand import ByHand, N, Paper, softly
from torch import Tensor

MODEL = {
    "_target_": "ganlab.models.StyleGAN2",
    "width_base": 32,
    "width_max": 4,
    "latent": 3,
    "style_width": 5,
    "mapping_layers": 2,
    "conditional": True,
    "mixing": 0.6,
    "regularizers": {"r1": {"_target_": "ganlab.regularizers.R1", "weight": 0.3, "every": 3}},
    "generator_regularizers": {
        "path_length": {"_target_": "ganlab.regularizers.PathLength", "weight": 0.5, "every": 2, "decay": 0.9}
    },
    "ema_half_life": 50.0,
}
SIZES = (4, 8, 8)


def corrected(every: int) -> dict[str, object]:
    """Adam's values for a penalty at every so many steps (appendix B)."""
    c = every / (every + 1)
    return {"lr": 0.002 * c, "betas": (0.0, 0.99**c)}


def drawn(loop: ByHand, player: str, labels: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The first w [n, 5], the w of the four layers [n, 4, 5], and the noise of three."""
    g, noise = loop.nets["generator"], loop.noise()
    first = g.mapping(noise.normal(f"{player} latents", N, 3), labels)
    second = g.mapping(noise.normal(f"{player} mixed latents", N, 3), labels)
    coin, place = noise.uniform(f"{player} cut", N, 2).T
    rows = []
    for i in range(N):
        cut = 1 + int(place[i] * 3) if coin[i] < 0.6 else 4
        rows.append(torch.stack([first[i]] * cut + [second[i]] * (4 - cut)))
    return first, torch.stack(rows), [noise.normal(f"{player} map {i}", N, 1, s, s) for i, s in enumerate(SIZES)]


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d, labels = loop.nets["generator"], loop.nets["discriminator"], batch["labels"]
    real = batch["real"].requires_grad_()
    _, w, maps = drawn(loop, "discriminator", labels)
    at_real, at_fake = d(real, labels), d(g.synthesize(w, *maps).detach(), labels)
    loss = softly(-at_real) + softly(at_fake)
    if number % 3 == 0:
        (slope,) = torch.autograd.grad(at_real.sum(), real, create_graph=True)
        loss = loss + 3 * 0.3 * (slope**2).sum((1, 2, 3)) / 2
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), **corrected(16))  # type: ignore[arg-type]
    loop.nimg += N

    first, w, maps = drawn(loop, "generator", labels)
    fake = g.synthesize(w, *maps)
    loss = softly(-d(fake, labels))
    if number % 2 == 0:
        direction = loop.noise().normal("generator path_length", N, 1, 8, 8) / 8
        (slope,) = torch.autograd.grad((fake * direction).sum(), w, create_graph=True)
        length = (slope**2).sum(2).mean(1).sqrt()
        mean = getattr(loop, "length", 0.0)
        loss = loss + 2 * 0.5 * (length - mean) ** 2
        loop.length = 0.9 * mean + 0.1 * length.detach().mean()  # type: ignore[attr-defined]
    loop.adam("generator", loop.gradients(loss, "generator"), **corrected(4))  # type: ignore[arg-type]
    g.w_mean.copy_(0.995 * g.w_mean + 0.005 * first.detach().mean(0))
    loop.average("generator", 0.5 ** (N / 50))


PAPERS = {"StyleGAN2": Paper(model=MODEL, by_hand=by_hand, graphs=4)}
"""At 8 px: noise in three layers, and colours in two."""
