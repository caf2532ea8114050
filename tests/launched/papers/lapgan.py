"""LAPGAN (Denton et al. 2015), by hand: two levels, each a game of its own, by SGD with momentum."""

from collections.abc import Mapping

from by_hand import ByHand, N, Paper, softly
from torch import Tensor
from torch.nn import functional as F

from ganlab.types import ImageSpec

MODEL = {
    "_target_": "ganlab.models.LAPGAN",
    "smallest": 8,
    "width": 4,
    "first_generator_width": 8,
    "first_discriminator_width": 8,
    "latent": 4,
    "conditional": True,
    "momentum": 0.5,
    "ema_half_life": 50.0,
}


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    large = batch["real"]
    small = large.unflatten(3, (8, 2)).unflatten(2, (8, 2)).mean((3, 5))
    one_level(loop, 8, small, None, batch["labels"])
    one_level(loop, 16, large, F.interpolate(small, (16, 16), mode="bilinear"), batch["labels"])


def one_level(loop: ByHand, height: int, real: Tensor, coarse: Tensor | None, labels: Tensor) -> None:
    g, d = loop.nets[f"generator_{height}"], loop.nets[f"discriminator_{height}"]

    def made(player: str) -> Tensor:
        z = 2 * loop.noise().uniform(f"{player} latents", N, 4 if coarse is None else 256) - 1
        return g(z, labels) if coarse is None else coarse + g(z, coarse, labels)

    def judged(player: str, kind: str, images: Tensor) -> Tensor:
        uniform = loop.noise().uniform(f"{player} {kind} dropout", N, 16 if coarse is None else 64)
        return d(images, labels, uniform)

    player = f"discriminator_{height}"
    loss = softly(-judged(player, "real", real)) + softly(judged(player, "fake", made(player).detach()))
    descend(loop, player, loss)
    if coarse is None:
        loop.nimg += N  # the first player of a round
    player = f"generator_{height}"
    descend(loop, player, softly(-judged(player, "fake", made(player))))
    loop.average(player, 0.5 ** (N / 50))


def descend(loop: ByHand, name: str, loss: Tensor) -> None:
    """A step of SGD with momentum."""
    for parameter, gradient in zip(*loop.gradients(loss, name), strict=True):
        momentum = loop.moments[parameter] = 0.5 * loop.moments.get(parameter, 0) + gradient
        parameter.data -= 0.02 * momentum


PAPERS = {"LAPGAN": Paper(model=MODEL, by_hand=by_hand, image=ImageSpec(16, 16, 1, 3), graphs=4)}
