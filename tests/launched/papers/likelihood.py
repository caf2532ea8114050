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


PAPERS = {"Real NVP": Paper(model=MODEL, by_hand=by_hand, image=ImageSpec(8, 8, 1), graphs=1)}
