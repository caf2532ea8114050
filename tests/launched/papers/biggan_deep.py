"""BigGAN-deep (Brock et al. 2019, appendix B), with its generator written out: BigGAN's game with other networks."""

from collections.abc import Mapping
from functools import partial

import torch
from by_hand import N
from torch import Tensor, nn
from torch.nn import functional as F

from papers.biggan import LARGE, biggan, normalised, paper, standardised

CANCELLED = tuple(
    f"{at}.blocks.{block}.conv{conv}.bias" for at in ("generator", "ema") for block in range(4) for conv in (1, 2, 3, 4)
)
"""Of the last ones of the first two blocks attention sees the sums, but by a gamma near 0: rounding moves them as much.

A change of G's first weights by a unit in the last place moves those by 2.5e-12 in six rounds, all others by 1e-13.
"""


def twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def attended(x: Tensor, w: Mapping[str, Tensor]) -> Tensor:
    f, g, v = (F.conv2d(x, w[f"attention.{part}.weight"]) for part in ("query", "key", "value"))
    g, v = (F.max_pool2d(each, 2).flatten(2) for each in (g, v))
    e = torch.einsum("ncq,nck->nqk", f.flatten(2), g).exp()
    o = torch.einsum("nqk,nck->ncq", e / e.sum(2, keepdim=True), v).view(v.shape[:2] + x.shape[2:])
    return x + w["attention.gamma"] * F.conv2d(o, w["attention.output.weight"])


def written_out(generator: nn.Module, z: Tensor, y: Tensor) -> Tensor:
    """The generator of 16 px: two blocks for each of the sizes 8 and 16, the second doubles; attention at 8 px."""
    w = normalised(generator)
    c = torch.cat([w["shared.weight"][y], z], 1)
    x = (c @ w["linear.weight"].T + w["linear.bias"]).view(N, 4, 4, 8).permute(0, 3, 1, 2)
    for k in range(4):

        def conv(x: Tensor, number: int, at: str = f"blocks.{k}.conv") -> Tensor:
            return F.conv2d(x, w[f"{at}{number}.weight"], w[f"{at}{number}.bias"], padding=int(number in (2, 3)))

        def norm(x: Tensor, number: int, at: str = f"blocks.{k}.norm") -> Tensor:
            gain, bias = (c @ w[f"{at}{number}.{part}.weight"].T for part in ("gain", "bias"))
            return (standardised(x) * (1 + gain)[:, :, None, None] + bias[:, :, None, None]).relu()

        grown = twice if k % 2 else torch.clone
        h = grown(norm(conv(norm(x, 1), 1), 2))
        x = grown(x) + conv(norm(conv(norm(conv(h, 2), 3), 3), 4), 4)
        if k == 1:
            x = attended(x, w)
    last = standardised(x) * w["norm.weight"][:, None, None] + w["norm.bias"][:, None, None]
    return F.conv2d(last.relu(), w["output.weight"], w["output.bias"], padding=1).tanh()


PAPERS = {
    "BigGAN-deep": paper(
        "BigGANDeep", partial(biggan, written_out=written_out), LARGE, idle=CANCELLED, other_networks=True
    )
}
