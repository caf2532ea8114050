"""Adversarial autoencoders on digits: do the codes of held-out images follow the prior, and do images come back?

The two-sample accuracy is that of a nearest neighbour among as many codes of each kind: 0.5 if they are alike. The
squared error is relative to that of the mean image. Shaped by classes, the prior has the class in a code's place.
"""

from collections.abc import Iterator

import torch
from held_out import digits, model_of, train
from rows import Row

from ganlab.metrics.neighbours import two_sample_accuracy
from ganlab.models import ShapedAutoencoder
from ganlab.seeding import Noise

CONFIGS = {
    "normal": "digits/aae.yaml",
    "mixture": "digits/aae_mixture.yaml",
    "mixture shaped by classes": "digits/aae_shaped.yaml",
    "swiss roll shaped by classes": "digits/aae_swiss_roll.yaml",
}


def rows(seed: int) -> Iterator[Row]:
    """One run for each prior, judged on 360 held-out digits."""
    (images, labels), (held_out, classes) = digits()
    for prior, config in CONFIGS.items():
        model, rounds, batch = model_of(config, seed)
        latents, _ = model.draw_latents(len(held_out), Noise(seed, 0), "two-sample test")
        untrained = two_sample_accuracy(model.eval().encode(held_out), latents)
        model = train(model.train(), rounds, images, labels, batch)
        codes = model.encode(held_out)
        apart = two_sample_accuracy(codes, latents)
        with torch.no_grad():
            error = (model.averaged(codes, labels) - held_out).square().mean()
        relative = float(error / (images.mean(0) - held_out).square().mean())
        name = f"AAE, {prior}"
        yield Row(name, f"two-sample accuracy (untrained {untrained:.2f})", apart, "<= 0.75", apart <= 0.75)
        yield Row(name, "squared error, of the mean image's", relative, "<= 0.60", relative <= 0.60)
        if isinstance(model, ShapedAutoencoder):
            parts = torch.arange(4000) % 10
            places = model.prior.draw_parts("parts", parts, Noise(seed, 0))
            own = float((parts[torch.cdist(codes, places).argmin(1)] == classes).double().mean())
            yield Row(name, "held-out digits nearest to their class's part of the prior", own, ">= 0.9", own >= 0.9)
