"""Super-resolution (Ledig et al. 2017; Wang et al. 2018), by hand: three rounds of L1 alone, then the game."""

from collections.abc import Mapping

from by_hand import GROUP, ByHand, N, Paper, softly
from torch import Tensor
from torch.nn import functional as F

from ganlab.types import ImageSpec

PRETRAINED = 3 * N


def model(network: str, **arguments: object) -> Mapping[str, object]:
    """A model of one of the generators, as in a config."""
    part = {"_target_": f"ganlab.networks.superresolution.{network}", "width": 4, "blocks": 1, "scale": 4}
    return {
        "_target_": "ganlab.models.SuperResolution",
        "generator": part | arguments,
        "discriminator_width": 4,
        "batch_norm_group": GROUP,
        "pretrain_nimg": PRETRAINED,
        "adversarial_weight": 0.05,
        "ema_half_life": 50.0,
    }


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    y = batch["real"]
    x = y.unflatten(3, (4, 4)).unflatten(2, (4, 4)).mean((3, 5))

    def made() -> Tensor:
        return F.interpolate(x, scale_factor=4, mode="bicubic") + g(x)

    loss = (made() - y).abs().mean((1, 2, 3))
    if number >= 3:
        logits, maps = d(made())
        targets = [target.detach() for target in d(y)[1]]
        for ours, theirs in zip(maps, targets, strict=True):
            loss = loss + (ours - theirs).abs().mean((1, 2, 3)) / 4
        loss = loss + 0.05 * softly(-logits)
    loop.adam("generator", loop.gradients(loss, "generator"), 1e-4, (0.9, 0.999))
    loop.average("generator", 0.5 ** (N / 50))
    loop.nimg += N
    if number >= 3:
        loss = softly(-d(y)[0]) + softly(d(made().detach())[0])
        loop.adam("discriminator", loop.gradients(loss, "discriminator"), 1e-4, (0.9, 0.999))


PAPERS = {
    "super-resolution, SRGAN": Paper(
        model=model("SRResNet", norm_group=GROUP), by_hand=by_hand, image=ImageSpec(16, 16, 1), graphs=3
    ),
    "super-resolution, ESRGAN": Paper(model=model("RRDBNet"), by_hand=by_hand, image=ImageSpec(16, 16, 1), graphs=3),
}
