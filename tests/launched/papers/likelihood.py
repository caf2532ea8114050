"""Real NVP by maximum likelihood, by hand: the density is the network's own, which `test_likelihood.py` checks."""

import math
from collections.abc import Mapping

from by_hand import ByHand, N, Paper
from torch import Tensor

from ganlab.types import ImageSpec

MODEL = {
    "_target_": "ganlab.models.MaximumLikelihood",
    "generator": {"_target_": "ganlab.networks.realnvp.Generator", "width": 4, "blocks": 1},
    "ema_half_life": 50.0,
}


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    bits = 7 - loop.nets["generator"].log_prob(batch["real"]) / (64 * math.log(2))
    loop.adam("generator", loop.gradients(bits, "generator"), 1e-3, (0.9, 0.999))
    loop.average("generator", 0.5 ** (N / 50))
    loop.nimg += N


def denoising(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    x = batch["real"]
    noisy = x.flatten(1) + 0.3 * loop.noise().normal("noise", N, 2)
    off = loop.nets["denoiser"](noisy[:, :, None, None]) - x
    loop.adam("denoiser", loop.gradients(off.square().sum((1, 2, 3)), "denoiser"), 1e-3, (0.9, 0.999))
    loop.average("denoiser", 0.5 ** (N / 50))
    loop.nimg += N


DENOISING = {"_target_": "ganlab.models.DenoisingAutoencoder", "width": 8, "std": 0.3, "ema_half_life": 50.0}

PAPERS = {
    "Real NVP": Paper(model=MODEL, by_hand=by_hand, image=ImageSpec(8, 8, 1), graphs=1),
    "denoising autoencoder": Paper(model=DENOISING, by_hand=denoising, image=ImageSpec(1, 1, 2), graphs=1),
}
