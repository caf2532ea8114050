"""Small networks for points, of fully connected layers: an image of one pixel, or of a few, is a vector.

They begin as those of Metz et al. 2017: weights are orthogonal times 0.8, biases 0.
"""

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from ganlab.layers.minibatch import MinibatchDiscrimination
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

Activation = Literal["relu", "softplus", "tanh"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "softplus": nn.Softplus, "tanh": nn.Tanh}


def dense(inputs: int, width: int, layers: int, activation: Activation) -> nn.Sequential:
    """Make hidden layers of one width."""
    widths = [inputs] + [width] * layers
    made = [(nn.Linear(*pair), ACTIVATIONS[activation]()) for pair in pairwise(widths)]
    return nn.Sequential(*(layer for pair in made for layer in pair))


def initialize(network: nn.Module) -> None:
    """Draw the initial weights: orthogonal times 0.8; biases 0 (Metz et al. 2017, appendix A)."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, 0.8)
            nn.init.zeros_(layer.bias)


class Generator(nn.Module):
    """Latents to points anywhere, through hidden layers of one width.

    Args:
        image: shape of the samples.
        width: units of each hidden layer.
        layers: hidden layers.
        latent: dimensions of the latent.
        activation: of the hidden layers.
    """

    classes = 0

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 128,
        layers: int = 2,
        latent: int = 256,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.latent, self.shape = latent, (image.channels, image.height, image.width)
        self.layers = dense(latent, width, layers, activation)
        self.out = nn.Linear(width, math.prod(self.shape))
        initialize(self)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one point per latent; labels are ignored."""
        points: Images = self.out(self.layers(latents)).unflatten(1, self.shape)
        return points


class Line(nn.Module):
    """A line beside the toy's: points (theta, u) with u uniform in [0, 1) and one weight, theta, which begins at 1.

    Arjovsky et al. 2017, example 1; `image` is of one pixel with two coordinates.
    """

    latent, classes = 1, 0

    def __init__(self, *, image: ImageSpec) -> None:
        super().__init__()
        if (image.height, image.width, image.channels) != (1, 1, 2):
            raise UserError(f"model.generator: a line has points of two coordinates, not {image}; write toy:lines")
        self.theta = nn.Parameter(torch.ones(1))

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one point per latent; labels are ignored."""
        uniform = torch.special.ndtr(latents)
        points: Images = torch.cat([self.theta.expand_as(uniform), uniform], 1)[:, :, None, None]
        return points


class Denoiser(nn.Module):
    """Points in the plane to points, through hidden layers of one width."""

    classes = 0

    def __init__(self, *, image: ImageSpec, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        if (image.height, image.width, image.channels) != (1, 1, 2):
            raise UserError(f"data.image: a denoiser has points of two coordinates, not {image}; write toy:ring")
        self.layers = nn.Sequential(*dense(2, width, layers, "tanh"), nn.Linear(width, 2))
        initialize(self)

    def forward(self, points: Images) -> Images:
        """[n, 2, 1, 1] to the same."""
        moved: Images = self.layers(points.flatten(1))[:, :, None, None]
        return moved


class Discriminator(nn.Module):
    """Points to logits, through hidden layers of one width.

    Args:
        image: shape of the samples.
        width: units of each hidden layer.
        layers: hidden layers.
        activation: of the hidden layers.
        kernels: of minibatch discrimination after the hidden layers (Salimans et al. 2016); 0 is none.
        dims: dimensions of each kernel.
        group: consecutive samples that the kernels compare; it must divide `train.group`.
    """

    classes = 0

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 128,
        layers: int = 1,
        activation: Activation = "relu",
        kernels: int = 0,
        dims: int = 3,
        group: int = 4,
    ) -> None:
        super().__init__()
        if kernels < 0:
            raise UserError(f"model.discriminator.kernels: {kernels}: write at least 0")
        self.layers = dense(image.channels * image.height * image.width, width, layers, activation)
        if kernels:
            self.layers.append(MinibatchDiscrimination(width, kernels=kernels, dims=dims, group=group))
        self.out = nn.Linear(width + kernels, 1)
        initialize(self)

    def forward(self, images: Images, labels: Labels) -> Logits:
        """Return one logit per point; labels are ignored."""
        logits: Logits = self.out(self.layers(images.flatten(1)))[:, 0]
        return logits
