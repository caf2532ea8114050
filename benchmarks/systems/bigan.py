"""BiGAN on digits: does G(E(x)) come back to x, and do the encoder's features tell the classes apart?

A random encoder's features do so too: nearest neighbours of 16 px digits are right for 0.99 of the raw pixels and of
these networks' random features, so their accuracy alone proves little; the ratio of distances does.
"""

from collections.abc import Iterator

import torch
from held_out import digits, model_of, train
from rows import Row

from ganlab.metrics.neighbours import nearest_neighbour_accuracy
from ganlab.metrics.reconstruction import distance_ratio

CONFIG = "digits/bigan.yaml"


def rows(seed: int) -> Iterator[Row]:
    """One run, judged on 360 held-out digits."""
    (images, labels), (held_out, classes) = digits()
    model, rounds, batch = model_of(CONFIG, seed)

    def accuracy() -> float:
        with torch.no_grad():
            known, unknown = (model.encoder_ema.features(x) for x in (images, held_out))
        return nearest_neighbour_accuracy(known, labels, unknown, classes)

    untrained = accuracy()
    train(model, rounds, images, labels, batch)
    with torch.no_grad():
        ratio = distance_ratio(model.made_from(held_out, classes)["reconstruction"], held_out)
    yield Row("BiGAN", "distance of G(E(x)) to x, of that to another x", ratio, "<= 0.88", ratio <= 0.88)
    found = accuracy()
    yield Row("BiGAN", f"1-NN on hidden features (untrained {untrained:.3f})", found, ">= 0.95", found >= 0.95)
