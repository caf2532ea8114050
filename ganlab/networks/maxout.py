"""The networks of the first GAN (Goodfellow et al. 2014), as its code has them for MNIST: fully connected.

Its initial weights are uniform, in [-0.05, 0.05] in the generator and [-0.005, 0.005] in the discriminator; biases are
0. (The code sets the biases of the pixels to the logits of their means over the data; here they begin at 0 too.)
"""

import math

import torch
from torch import Tensor, nn

from ganlab.layers.maxout import Maxout
from ganlab.layers.randomness import Dropout
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits


def initialize(network: nn.Module, bound: float) -> None:
    """Draw the initial weights: uniform in [-bound, bound]; biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)


class Generator(nn.Module):
    """Latents to images in [-1, 1]: two hidden layers of rectifiers, and a sigmoid.

    Args:
        image: shape of the samples.
        width: units of each hidden layer.
        latent: dimensions of the latent, which the network maps to uniform numbers of variance 1.
        bound: of the initial weights.
    """

    classes = 0

    def __init__(self, *, image: ImageSpec, width: int = 1200, latent: int = 100, bound: float = 0.05) -> None:
        super().__init__()
        self.latent, self.shape = latent, (image.channels, image.height, image.width)
        pixels = math.prod(self.shape)
        self.layers = nn.Sequential(
            nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, pixels)
        )
        initialize(self, bound)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent; labels are ignored."""
        uniform = math.sqrt(3) * torch.erf(latents / math.sqrt(2))  # in [-sqrt(3), sqrt(3)]
        images: Images = 2 * torch.sigmoid(self.layers(uniform)).unflatten(1, self.shape) - 1
        return images


class Discriminator(nn.Module):
    """Images to logits: two hidden layers of maxout units, with dropout before each layer.

    Args:
        image: shape of the samples.
        width: units of each hidden layer.
        pieces: affine functions of each unit.
        keep_image, keep_hidden: probability that a pixel, or a hidden unit, is kept.
        bound: of the initial weights.
    """

    classes = 0

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 240,
        pieces: int = 5,
        keep_image: float = 0.8,
        keep_hidden: float = 0.5,
        bound: float = 0.005,
    ) -> None:
        super().__init__()
        self.sizes = (image.channels * image.height * image.width, width, width)
        self.noise = sum(self.sizes)
        keeps = (keep_image, keep_hidden, keep_hidden)
        self.dropouts = nn.ModuleList(map(Dropout, keeps))
        self.layers = nn.ModuleList(
            [Maxout(self.sizes[0], width, pieces=pieces), Maxout(width, width, pieces=pieces), nn.Linear(width, 1)]
        )
        initialize(self, bound)

    def forward(self, images: Images, labels: Labels, noise: Tensor) -> Logits:
        """Return one logit per image, dropping what `noise` [n, self.noise] says; labels are ignored."""
        features = (images.flatten(1) + 1) / 2  # the paper's pixels are in [0, 1]: black is what dropout leaves
        for dropout, layer, part in zip(self.dropouts, self.layers, noise.split(self.sizes, 1), strict=True):
            features = layer(dropout(features, part))
        logits: Logits = features[:, 0]
        return logits
