"""alpha-GAN beside a variational autoencoder, of twice its encoder and generator, on digits."""

from collections.abc import Iterator

from rows import Row
from variational import beside_a_vae


def rows(seed: int) -> Iterator[Row]:
    """One run of each."""
    yield from beside_a_vae("alpha-GAN", "digits/alphagan.yaml", seed, "model.width=8")
