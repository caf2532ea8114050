"""Projected GAN (Sauer et al. 2021), by hand: a loop without its networks, whose spectral norms it iterates."""

from collections.abc import Mapping

from by_hand import ByHand, N, Paper
from torch import Tensor

from ganlab.augment import DiffAugment
from ganlab.layers.spectral import iterate_power
from ganlab.types import ImageSpec

MODEL = {
    "_target_": "ganlab.models.ProjectedGAN",
    "width": 1,
    "discriminator_width": 2,
    "latent": 4,
    "features": {"_target_": "games.FewFeatures"},
    "size": 128,
    "norm_group": 4,
    "augment": {"_target_": "ganlab.augment.DiffAugment", "cutout": 0.2},
    "ema_half_life": 50.0,
}


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    augment = DiffAugment(cutout=0.2)

    def judged(images: Tensor, name: str) -> Tensor:
        return d(augment(images, augment.draw(images.shape, loop.noise(), name)))

    iterate_power(d)
    fake = g(loop.latents("discriminator")).detach()
    real, fake = judged(batch["real"], "discriminator real"), judged(fake, "discriminator fake")
    loss = (1 - real).relu().mean(1) + (1 + fake).relu().mean(1)
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), 2e-4, (0.0, 0.99))
    loop.nimg += N
    iterate_power(g)
    loss = -judged(g(loop.latents("generator")), "generator fake").mean(1)
    loop.adam("generator", loop.gradients(loss, "generator"), 2e-4, (0.0, 0.99))
    loop.average("generator", 0.5 ** (N / 50))


PAPERS = {"Projected GAN": Paper(model=MODEL, by_hand=by_hand, image=ImageSpec(16, 16, 3), rounds=4, spread=0.3)}
