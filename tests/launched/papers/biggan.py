"""BigGAN (Brock et al. 2019), with its generator written out, and SAGAN (Zhang et al. 2019), by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from by_hand import GROUP, ByHand, N, Paper
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.types import ImageSpec

IMAGE = ImageSpec(16, 16, 1, 3)
SMALL = {
    "generator_width": 2,
    "discriminator_width": 2,
    "attention": 8,
    "batch_norm_group": GROUP,
    "generator_lr": 5e-5,
    "discriminator_lr": 1e-4,
}
LARGE = SMALL | {
    "latent": 6,
    "embedding": 3,
    "orthogonal": 1e-2,
    "eps": 1e-8,
    "ema_decay": 0.9,
    "ema_from_nimg": 32,
}
ORIGINAL = ".parametrizations.weight.original"
CANCELLED = tuple(
    f"{at}.blocks.{bias}.bias"
    for at in ("generator", "ema")
    for bias in ("0.conv1", "1.conv1", "1.conv2", "1.shortcut")
)


def matrix(weight: Tensor) -> Tensor:
    return weight.movedim(1, -1).flatten(1)


def iterate(network: nn.Module) -> None:
    """One power iteration of every weight under spectral norm."""
    for name, weight in network.named_parameters():
        if name.endswith(ORIGINAL):
            u, v = (network.get_buffer(name.replace("original", f"0.{at}")) for at in "uv")
            m = matrix(weight.detach())
            v.copy_(m.T @ u / (m.T @ u).norm())
            u.copy_(m @ v / (m @ v).norm())


def normalised(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter, those under spectral norm divided by u' W v, by the names of plain layers."""
    found = {}
    for name, weight in network.named_parameters():
        if name.endswith(ORIGINAL):
            u, v = (network.get_buffer(name.replace("original", f"0.{at}")).clone() for at in "uv")
            weight = weight / (u @ matrix(weight) @ v)
        found[name.replace(ORIGINAL, ".weight")] = weight
    return found


def standardised(x: Tensor) -> Tensor:
    """Each channel of each four samples."""
    groups = x.unflatten(0, (-1, 4))
    var, mean = torch.var_mean(groups, (1, 3, 4), correction=0, keepdim=True)
    return ((groups - mean) / (var + 1e-5).sqrt()).flatten(0, 1)


def written_out(generator: nn.Module, z: Tensor, y: Tensor) -> Tensor:
    """The generator of 16 px: a third of the latent for the first layer, one for each block; attention at 8 px."""
    w = normalised(generator)
    h = (z[:, :2] @ w["linear.weight"].T + w["linear.bias"]).view(N, 4, 4, 8).permute(0, 3, 1, 2)
    for k in range(2):
        c, at = torch.cat([w["shared.weight"][y], z[:, 2 * k + 2 : 2 * k + 4]], 1), f"blocks.{k}"

        def norm(x: Tensor, name: str, c: Tensor = c) -> Tensor:
            gain, bias = (c @ w[f"{name}.{part}.weight"].T for part in ("gain", "bias"))
            return (standardised(x) * (1 + gain)[:, :, None, None] + bias[:, :, None, None]).relu()

        def conv(x: Tensor, name: str, padding: int = 1) -> Tensor:
            return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), padding=padding)

        def twice(x: Tensor) -> Tensor:
            return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

        inner = conv(norm(conv(twice(norm(h, f"{at}.norm1")), f"{at}.conv1"), f"{at}.norm2"), f"{at}.conv2")
        h = inner + conv(twice(h), f"{at}.shortcut", 0)
        if k == 0:
            f = conv(h, "attention.query", 0).flatten(2)
            g, v = (F.max_pool2d(conv(h, f"attention.{part}", 0), 2).flatten(2) for part in ("key", "value"))
            e = torch.einsum("ncq,nck->nqk", f, g).exp()
            o = torch.einsum("nqk,nck->ncq", e / e.sum(2, keepdim=True), v).view(N, 4, 8, 8)
            h = h + w["attention.gamma"] * conv(o, "attention.output", 0)
    last = standardised(h) * w["norm.weight"][:, None, None] + w["norm.bias"][:, None, None]
    return F.conv2d(last.relu(), w["output.weight"], w["output.bias"], padding=1).tanh()


def orthogonal(generator: nn.Module) -> Tensor:
    """The sum of squared products of rows, of every weight but the shared embedding."""
    total = torch.zeros((), dtype=torch.float64)
    for name, weight in generator.named_parameters():
        if weight.ndim > 1 and name != "shared.weight":
            rows = weight.flatten(1)
            total = total + ((rows @ rows.T) * (1 - torch.eye(len(rows)))).square().sum()
    return total


def biggan(
    loop: ByHand,
    number: int,
    batch: Mapping[str, Tensor],
    written_out: Callable[[nn.Module, Tensor, Tensor], Tensor] = written_out,
) -> None:
    """Two discriminator steps, each on the next N of the 2 N reals that its authors' code takes at once."""
    g, d, betas = loop.nets["generator"], loop.nets["discriminator"], (0.0, 0.999)
    y = loop.noise().classes("discriminator labels", N, 3)
    fake = written_out(g, loop.latents("discriminator", dims=6), y).detach()
    iterate(d)
    loss = (1 - d(batch["real"], batch["labels"])).relu() + (1 + d(fake, y)).relu()
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), 1e-4, betas)
    loop.nimg += N
    if number % 2:
        y = loop.noise().classes("generator labels", N, 3)
        iterate(g)
        loss = 1e-2 * orthogonal(g) - d(written_out(g, loop.latents("generator", dims=6), y), y)
        loop.adam("generator", loop.gradients(loss, "generator"), 5e-5, betas)
        loop.average("generator", 0.9 if loop.nimg >= 32 else 0.0)


def sagan(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d, betas = loop.nets["generator"], loop.nets["discriminator"], (0.0, 0.9)
    y = loop.noise().classes("discriminator labels", N, 3)
    fake = g(loop.latents("discriminator"), y).detach()
    iterate(d)
    loss = (1 - d(batch["real"], batch["labels"])).relu() + (1 + d(fake, y)).relu()
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), 1e-4, betas)
    loop.nimg += N
    y = loop.noise().classes("generator labels", N, 3)
    iterate(g)
    loop.adam("generator", loop.gradients(-d(g(loop.latents("generator"), y), y), "generator"), 5e-5, betas)
    loop.average("generator", 0.5 ** (N / 50))


def paper(name: str, by_hand: Callable[..., None], model: Mapping[str, Any], **kinds: Any) -> Paper:
    target = {"_target_": f"ganlab.models.{name}"}
    # Losses are of the order of 20, and float16's loss scale masks the first steps, before which it has to fall.
    return Paper(model=target | model, by_hand=by_hand, image=IMAGE, spread=1.0, **kinds)


PAPERS = {
    "BigGAN": paper("BigGAN", biggan, LARGE, idle=CANCELLED),
    "SAGAN": paper("SAGAN", sagan, SMALL | {"latent": 4, "ema_half_life": 50.0}, idle=CANCELLED),
}
