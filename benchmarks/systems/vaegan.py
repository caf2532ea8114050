"""VAE/GAN beside a variational autoencoder of its size, on digits."""

from collections.abc import Iterator

from rows import Row
from variational import beside_a_vae


def rows(seed: int) -> Iterator[Row]:
    """One run of each."""
    yield from beside_a_vae("VAE/GAN", "digits/vaegan.yaml", seed, "train.total_nimg=48_000")
