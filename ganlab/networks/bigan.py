"""The permutation-invariant networks of BiGAN (Donahue et al. 2017, section 4.1), without convolutions.

No layer has a bias, and batch norm no gain: 1,953,792, 1,902,592 and 1,903,616 parameters on MNIST.
"""

import torch
from torch import Tensor, nn

from ganlab.layers.batchnorm import Standardization
from ganlab.layers.leaky import LeakyReLU
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits


class Norm(Standardization):
    """Batch norm of features [n, c], without gain and bias."""

    def forward(self, features: Tensor) -> Tensor:
        """[n, c] to the same."""
        return self.standardize(features[..., None, None])[..., 0, 0]


def initialize(network: nn.Module) -> None:
    """Draw the initial weights: N(0, 0.02)."""
    for weight in network.parameters():
        nn.init.normal_(weight, 0.0, 0.02)


class Generator(nn.Module):
    """Codes to images in [-1, 1]: two hidden layers with batch norm and ReLU; the code enters both."""

    def __init__(self, *, image: ImageSpec, width: int = 1024, latent: int = 50, norm_group: int | None = None) -> None:
        super().__init__()
        self.latent, self.classes = latent, 0
        self.shape = image.channels, image.height, image.width
        self.first, self.again = (nn.Linear(latent, width, bias=False) for _ in range(2))
        self.hidden = nn.Linear(width, width, bias=False)
        self.last = nn.Linear(width, image.channels * image.height * image.width, bias=False)
        self.norms = nn.ModuleList(Norm(width, group=norm_group, eps=1e-8) for _ in range(2))
        initialize(self)

    def forward(self, codes: Latents, labels: Labels | None = None) -> Images:
        """[n, latent] to [n, c, h, w]; labels are ignored."""
        hidden = self.norms[0](self.first(codes)).relu()
        hidden = self.norms[1](self.hidden(hidden) + self.again(codes)).relu()
        images: Images = torch.tanh(self.last(hidden) / 2).unflatten(1, self.shape)  # the paper's sigmoid, in [-1, 1]
        return images


class Encoder(nn.Module):
    """Images to codes: two hidden layers with leaky ReLU, batch norm in the second."""

    def __init__(self, *, image: ImageSpec, width: int = 1024, latent: int = 50, norm_group: int | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Flatten(),
            nn.Linear(image.channels * image.height * image.width, width, bias=False),
            LeakyReLU(),
            nn.Linear(width, width, bias=False),
            Norm(width, group=norm_group, eps=1e-8),
            LeakyReLU(),
        )
        self.last = nn.Linear(width, latent, bias=False)
        initialize(self)

    def forward(self, images: Images) -> Latents:
        """[n, c, h, w] to [n, latent]."""
        codes: Latents = self.last(self.features(images))
        return codes


class Discriminator(nn.Module):
    """Pairs of image and code to logits; the code enters the second hidden layer."""

    def __init__(self, *, image: ImageSpec, width: int = 1024, latent: int = 50, norm_group: int | None = None) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Flatten(),
            nn.Linear(image.channels * image.height * image.width, width, bias=False),
            LeakyReLU(),
            nn.Linear(width, width, bias=False),
        )
        self.code = nn.Linear(latent, width, bias=False)
        self.both = nn.Sequential(
            Norm(width, group=norm_group, running=False, eps=1e-8), LeakyReLU(), nn.Linear(width, 1, bias=False)
        )
        initialize(self)

    def forward(self, images: Images, codes: Latents) -> Logits:
        """[n, c, h, w] and [n, latent] to [n]."""
        logits: Logits = self.both(self.image(images) + self.code(codes))[:, 0]
        return logits
