"""CycleGAN (Zhu et al. 2017), by hand: four networks, two players, and pools that fill in the fourth round."""

from collections.abc import Mapping

import torch
from by_hand import SEED, ByHand, N, Paper
from torch import Tensor

from ganlab.seeding import Noise
from ganlab.types import ImageSpec

IMAGE, POOL = ImageSpec(8, 8, 1), 28
MODEL = {
    "_target_": "ganlab.models.CycleGAN",
    "width": 4,
    "blocks": 1,
    "identity_weight": 5.0,
    "pool": POOL,
    "ema_half_life": 50.0,
}


def exchanged(loop: ByHand, name: str, made: Tensor) -> Tensor:
    """One image after the other: stored while there is room, then by chance exchanged with an old one."""
    pool = loop.pools[name]
    full = len(pool) == POOL
    order = Noise(SEED, loop.nimg, 0, POOL, dtype=torch.float64).uniform(f"{name} slots", POOL).argsort().tolist()
    chances = loop.noise().uniform(f"{name} swaps", N).tolist()
    shown = made.clone()
    for i in range(N):
        if len(pool) < POOL:
            pool.append(made[i])
        elif full and chances[i] < 0.5:
            shown[i], pool[order[i]] = pool[order[i]], made[i]
    return shown


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    if not number:
        loop.pools = {"a": [], "b": []}
    g, f, d_a, d_b = loop.nets.values()
    a, b = batch["real"], batch["other"]
    lr = 2e-4  # the run is so short that its second half never comes
    made_b, made_a = g(a), f(b)
    loss = ((d_b(made_b) - 1) ** 2).mean((1, 2, 3)) + ((d_a(made_a) - 1) ** 2).mean((1, 2, 3))
    loss = loss + 10 * ((f(made_b) - a).abs() + (g(made_a) - b).abs()).mean((1, 2, 3))
    loss = loss + 5 * ((g(b) - b).abs() + (f(a) - a).abs()).mean((1, 2, 3))
    loop.adam("generators", loop.gradients(loss, "a_to_b", "b_to_a"), lr, (0.5, 0.999))
    loop.average("a_to_b", 0.5 ** (N / 50))
    loop.average("b_to_a", 0.5 ** (N / 50))
    loop.nimg += N
    made_b, made_a = exchanged(loop, "b", g(a).detach()), exchanged(loop, "a", f(b).detach())
    loss = ((d_a(a) - 1) ** 2 + d_a(made_a) ** 2 + (d_b(b) - 1) ** 2 + d_b(made_b) ** 2).mean((1, 2, 3)) / 2
    loop.adam("discriminators", loop.gradients(loss, "discriminator_a", "discriminator_b"), lr, (0.5, 0.999))


PAPERS = {"CycleGAN": Paper(model=MODEL, by_hand=by_hand, image=IMAGE, other=IMAGE)}
