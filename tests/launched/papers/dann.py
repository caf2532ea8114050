"""DANN (Ganin et al. 2016), by hand."""

import math
from collections.abc import Mapping

import torch
from by_hand import ByHand, N, Paper, softly
from torch import Tensor

from ganlab.types import ImageSpec

RATE, TOTAL = 500.0, 10_000
"""Of the schedules, so high that they change within a few rounds; and images of the run."""
MODEL = {
    "_target_": "ganlab.models.DANN",
    "width": 4,
    "hidden_width": 6,
    "reversal": {"_target_": "ganlab.schedules.Saturating", "rate": RATE},
    "lr_schedule": {"_target_": "ganlab.schedules.InverseDecay", "rate": RATE},
    "ema_half_life": 50.0,
}
IMAGE = ImageSpec(16, 16, 1, 3)


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    c, d = loop.nets["classifier"], loop.nets["domains"]
    share = min(loop.nimg / TOTAL, 1)
    strength, lr = 2 / (1 + math.exp(-RATE * share)) - 1, 0.01 / (1 + RATE * share) ** 0.75
    (logits, source), (_, target) = c(batch["real"]), c(batch["other"])
    classes = -logits.log_softmax(1)[torch.arange(N), batch["labels"]]
    domain = softly(-d(source)) + softly(d(target))
    parameters, gradients = loop.gradients(classes - strength * domain, "classifier")
    judges, theirs = loop.gradients(softly(-d(source.detach())) + softly(d(target.detach())), "domains")
    for parameter, gradient in zip([*parameters, *judges], [*gradients, *theirs], strict=True):
        loop.moments[parameter] = 0.9 * loop.moments.get(parameter, 0) + gradient
        parameter.data -= lr * loop.moments[parameter]
    loop.average("classifier", 0.5 ** (N / 50))
    loop.nimg += N


PAPERS = {"DANN": Paper(model=MODEL, by_hand=by_hand, image=IMAGE, other=IMAGE, graphs=1)}
