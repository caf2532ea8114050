"""The networks for MNIST of Salimans et al. 2016, "Improved techniques for training GANs", as the authors' code."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, relu

from ganlab.layers.batchnorm import Standardization
from ganlab.types import Images, ImageSpec, Labels, Latents

INPUT_NOISE, NOISE = 0.3, 0.5
"""Standard deviation of the noise on images in [0, 1], and on the input of each later layer."""


class WeightNormLinear(nn.Linear):
    """A dense layer with weights g v / |v| (Salimans & Kingma 2016, eq. 2).

    | g | v | bias |
    |---|---|---|
    | `gain` | N(0, 0.1) | 0 |
    """

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__(inputs, outputs)
        self.gain = nn.Parameter(torch.full((outputs, 1), gain))
        nn.init.normal_(self.weight, 0.0, 0.1)
        nn.init.zeros_(self.bias)

    def forward(self, values: Tensor) -> Tensor:
        """[n, inputs] to [n, outputs]."""
        return linear(values, self.gain * normalize(self.weight, dim=1), self.bias)


class Shift(Standardization):
    """Batch norm with a bias and no gain."""

    def __init__(self, channels: int, group: int | None) -> None:
        super().__init__(channels, group=group, eps=1e-6)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, values: Tensor) -> Tensor:
        """[n, channels] to the same."""
        return self.standardize(values[:, :, None, None], None, self.bias)[:, :, 0, 0]


class Generator(nn.Module):
    """Latents to images in [-1, 1]: dense layers with batch norm and softplus, the last one with weight norm."""

    def __init__(self, *, image: ImageSpec, latent: int = 100, width: int = 500, norm_group: int | None = None) -> None:
        super().__init__()
        self.latent, self.classes = latent, 0
        self.shape = image.channels, image.height, image.width
        self.layers = nn.Sequential(
            nn.Linear(latent, width, bias=False),
            Shift(width, norm_group),
            nn.Softplus(),
            nn.Linear(width, width, bias=False),
            Shift(width, norm_group),
            nn.Softplus(),
            WeightNormLinear(width, image.channels * image.height * image.width),
            nn.Sigmoid(),
        )

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent; labels are ignored."""
        pixels: Images = self.layers(latents).unflatten(1, self.shape)  # in [0, 1]
        return 2 * pixels - 1


class Classifier(nn.Module):
    """Images to the logits of K classes, by dense layers with weight norm and ReLU.

    The hidden layers begin with a gain of sqrt(2), which keeps the scale through a ReLU; the authors take it from the
    first images, and train only the last one.
    """

    def __init__(self, *, image: ImageSpec, classes: int, width: int = 1000) -> None:
        super().__init__()
        widths = [image.channels * image.height * image.width, width, width // 2, *[width // 4] * 3]
        self.widths = widths
        self.hidden = nn.ModuleList(WeightNormLinear(a, b, gain=2**0.5) for a, b in pairwise(widths))
        self.logits = WeightNormLinear(widths[-1], classes)

    def forward(self, images: Images, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits of the classes [n, classes], and the features of the last hidden layer [n, width / 4].

        `noise`, standard normal numbers [n, sum(widths)], is added to the input of each layer; None adds nothing.
        """
        noises = [0.0] * len(self.widths) if noise is None else noise.split(self.widths, 1)
        features = (images.flatten(1) + 1) / 2
        std = INPUT_NOISE
        for layer, more in zip(self.hidden, noises, strict=False):
            features, std = relu(layer(features + std * more)), NOISE
        return self.logits(features + NOISE * noises[-1]), features
