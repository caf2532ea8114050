"""InfoGAN (Chen et al. 2016), by hand."""

import math
from collections.abc import Mapping

import torch
from by_hand import GROUP, ByHand, N, Paper, softly
from torch import Tensor

MODEL = {
    "_target_": "ganlab.models.InfoGAN",
    "noise": 4,
    "categories": 3,
    "weight": 0.7,
    "width": 2,
    "batch_norm_group": GROUP,
    "ema_half_life": 50.0,
}
NONE = torch.full((N,), -1)


def drawn(loop: ByHand, player: str) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, category [n] and continuous codes [n, 2]."""
    uniform = 2 * loop.noise().uniform(f"{player} latents", N, 6) - 1
    category = loop.noise().classes(f"{player} categories", N, 3)
    code = uniform[:, 4:]
    return torch.cat([uniform[:, :4], torch.eye(3, dtype=torch.float64)[category], code], 1), category, code


def surprise(guesses: Tensor, category: Tensor, code: Tensor) -> Tensor:
    """-log Q(c|x) [n]: of the category, and of the codes up to ln 2 pi."""
    p = guesses[:, :3].exp() / guesses[:, :3].exp().sum(1, keepdim=True)
    gaussian = torch.distributions.Normal(guesses[:, 3:5], 1.0).log_prob(code).sum(1) + math.log(2 * math.pi)
    return -p[torch.arange(N), category].log() - gaussian


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    z, *code = drawn(loop, "discriminator")
    real, _ = d(batch["real"])
    fake, guesses = d(g(z, NONE).detach())
    loss = softly(-real) + softly(fake) + 0.7 * surprise(guesses, *code)
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), 2e-4, (0.5, 0.999))
    loop.nimg += N
    z, *code = drawn(loop, "generator")
    fake, guesses = d(g(z, NONE))
    loss = softly(-fake) + 0.7 * surprise(guesses, *code)
    loop.adam("generator", loop.gradients(loss, "generator"), 1e-3, (0.5, 0.999))
    loop.average("generator", 0.5 ** (N / 50))


BEFORE_NORMS = tuple(f"{at}.bias" for at in ("layers.0", "layers.3", "layers.8", "trunk.2", "trunk.5", "code.0"))
PAPERS = {"InfoGAN": Paper(model=MODEL, by_hand=by_hand, idle=BEFORE_NORMS)}
