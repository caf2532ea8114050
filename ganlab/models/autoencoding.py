"""What games with an encoder share: codes follow a prior, and images come back from their codes."""

import torch
from torch import Tensor

from ganlab.engine.game import Game
from ganlab.priors import Prior
from ganlab.seeding import Noise
from ganlab.types import Images, Labels, Latents


class Autoencoding(Game):
    """A game that averages a network named `encoder` beside the one that decodes, which is its first average."""

    prior: Prior | None = None
    """Of the codes; None is N(0, 1)."""

    def draw_latents(self, n: int, noise: Noise, name: str) -> tuple[Latents, Labels]:
        """Draw codes from the prior, without labels."""
        if self.prior is None:
            return super().draw_latents(n, noise, name)
        codes = self.prior.draw(f"{name} latents", n, noise)
        return codes, torch.full((n,), -1, device=codes.device)

    def made_from(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return the reconstructions."""
        return {"reconstruction": self.averaged(self.encoded(images), labels)}
