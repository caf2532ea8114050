"""The networks for MNIST of DANN (Ganin et al. 2016, figure 4a)."""

import torch
from torch import Tensor, nn

from ganlab.types import Features, Images, ImageSpec, Logits, UserError


def convolved(size: int) -> int:
    """Return a side of the map that two convolutions of 5 px, each halved, leave of `size` pixels."""
    return ((size - 4) // 2 - 4) // 2


class Classifier(nn.Module):
    """Images to the logits of classes and the features that they come from."""

    def __init__(self, *, image: ImageSpec, classes: int, width: int = 32, hidden_width: int = 100) -> None:
        super().__init__()
        if min(image.height, image.width) < 16:
            raise UserError(f"data.image: DANN takes images of at least 16 px, not {image.height}x{image.width}")
        deep = width * 3 // 2
        self.dims = deep * convolved(image.height) * convolved(image.width)
        """Number of features: 768 at 28 px."""
        self.features = nn.Sequential(
            nn.Conv2d(image.channels, width, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, deep, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.layers = nn.Sequential(
            nn.Linear(self.dims, hidden_width),
            nn.ReLU(),
            nn.Linear(hidden_width, hidden_width),
            nn.ReLU(),
            nn.Linear(hidden_width, classes),
        )

    def forward(self, images: Images) -> tuple[Tensor, Features]:
        """Return the logits [n, classes] and the features [n, dims]."""
        features = self.features(images)
        return self.layers(features), features


class Domains(nn.Module):
    """Features to logits of the source domain."""

    def __init__(self, *, dims: int, hidden_width: int = 100) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dims, hidden_width), nn.ReLU(), nn.Linear(hidden_width, 1))

    def forward(self, features: Features) -> Logits:
        """Return one logit per sample."""
        return torch.flatten(self.layers(features))
