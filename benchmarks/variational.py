"""An autoencoder with a game beside a variational autoencoder that saw as many images: reconstructions and samples."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from held_out import digits, model_of, train
from rows import Row
from torch import Tensor

from ganlab.commands.demo import Judge
from ganlab.engine.game import Game
from ganlab.metrics.kernel import squared_mmd
from ganlab.metrics.reconstruction import absolute_error

SAMPLES = 1000


class Judged(NamedTuple):
    """How well images come back, and how good samples of the prior are."""

    error: float
    """L1 of reconstructions, in [0, 1]."""
    distance: float
    """Kernel distance of samples, by their pixels."""
    recognised: float
    """Samples that a judge takes for some digit with a probability of at least `demo.SURE`."""
    entropy: float
    """Of the classes that it takes the samples for, in nats; ln 10 = 2.303 if they are equally frequent."""


def judged(model: Game, images: Tensor, labels: Tensor, judge: Judge) -> Judged:
    """Compare a model's reconstructions and samples with held-out images."""
    pixels = model.sample(SAMPLES, seed=1)
    with torch.no_grad():
        again = model.made_from(images, labels)["reconstruction"]
    seen = pixels.permute(0, 2, 3, 1).numpy()
    return Judged(
        absolute_error(again, images),
        squared_mmd((pixels / 127.5 - 1).flatten(1), images.flatten(1)),
        judge.recognised(seen),
        float(torch.distributions.Categorical(torch.from_numpy(judge.shares(seen))).entropy()),
    )


def beside_a_vae(name: str, config: str, seed: int, *of_the_vae: str) -> Iterator[Row]:
    """Train both on the same images, and compare them on held-out ones; `of_the_vae` are changes of its config."""
    (images, labels), (held_out, classes) = digits()
    judge = Judge((127.5 * (images + 1)).round().byte().permute(0, 2, 3, 1).numpy(), labels.numpy())
    found = []
    for each, changes in ((config, ()), ("digits/vae.yaml", of_the_vae)):
        model, rounds, batch = model_of(each, seed, *changes)
        found.append(judged(train(model, rounds, images, labels, batch), held_out, classes, judge))
    ours, vae = found
    known, varied = f">= 0.70 (the VAE's {vae.recognised:.3f})", f">= 2.1 (the VAE's {vae.entropy:.3f})"
    yield Row(name, "L1 of reconstructions", ours.error, f"< {vae.error:.4f}, the VAE's", ours.error < vae.error)
    yield Row(
        name,
        "kernel distance of samples",
        ours.distance,
        f"< {vae.distance:.4f}, the VAE's",
        ours.distance < vae.distance,
    )
    yield Row(name, "samples that a judge recognises", ours.recognised, known, ours.recognised >= 0.7)
    yield Row(name, "entropy of their classes, nats", ours.entropy, varied, ours.entropy >= 2.1)
