"""The networks of Dirac-GAN (Mescheder et al. 2018, definition 2.1): one weight each, a whole game in the plane."""

import torch
from torch import nn

from ganlab.types import Images, ImageSpec, Labels, Latents, Logits


class Generator(nn.Module):
    """Always the same image: every pixel is theta, which begins at `start`. Latents and labels are ignored."""

    latent, classes = 1, 0

    def __init__(self, *, image: ImageSpec, start: float = 1.0) -> None:
        super().__init__()
        self.shape = image.channels, image.height, image.width
        self.theta = nn.Parameter(torch.tensor(start))

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """[n, 1] to [n, c, h, w]."""
        return self.theta.expand(latents.shape[0], *self.shape)


class Discriminator(nn.Module):
    """psi times the mean of the pixels; psi begins at `start`."""

    classes = 0

    def __init__(self, *, start: float = 1.0) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(start))

    def forward(self, images: Images, labels: Labels) -> Logits:
        """[n, c, h, w] to [n]."""
        return self.psi * images.mean((1, 2, 3))
