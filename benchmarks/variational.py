"""An autoencoder with a game beside a variational autoencoder that saw as many images: reconstructions and samples."""

from collections.abc import Iterator

import torch
from held_out import digits, model_of, train
from rows import Row
from torch import Tensor

from ganlab.engine.game import Game
from ganlab.metrics.kernel import squared_mmd
from ganlab.metrics.reconstruction import absolute_error

SAMPLES = 1000


def judged(model: Game, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """L1 of reconstructions, and the kernel distance of samples, by their pixels."""
    samples = model.sample(SAMPLES, seed=1) / 127.5 - 1
    with torch.no_grad():
        again = model.made_from(images, labels)["reconstruction"]
    return absolute_error(again, images), squared_mmd(samples.flatten(1), images.flatten(1))


def beside_a_vae(name: str, config: str, seed: int) -> Iterator[Row]:
    """Train both on the same images, and compare them on held-out ones."""
    (images, labels), (held_out, classes) = digits()
    found = []
    for each in (config, "digits/vae.yaml"):
        model, rounds, batch = model_of(each, seed)
        found.append(judged(train(model, rounds, images, labels, batch), held_out, classes))
    ours, theirs = found
    yield Row(name, "L1 of reconstructions", ours[0], f"< {theirs[0]:.4f}, the VAE's", ours[0] < theirs[0])
    yield Row(name, "kernel distance of samples", ours[1], f"< {theirs[1]:.4f}, the VAE's", ours[1] < theirs[1])
