"""Small networks that hold one difficulty each, for runs on several numbers of processes.

No layer has a bias before a batch norm: its gradient is rounding alone, which Adam would make steps of.
"""

import torch
from torch import Tensor, nn

from ganlab.layers.batchnorm import BatchNorm
from ganlab.layers.minibatch import MinibatchStd
from ganlab.layers.spectral import spectral_norm
from ganlab.types import ImageSpec


def norm(kind: str, channels: int, running: bool) -> nn.Module:
    """`none`, `batch` (over all ranks) or the size of a fixed group."""
    if kind == "none":
        return nn.Identity()
    return BatchNorm(channels, group=None if kind == "batch" else int(kind), running=running)


class Generator(nn.Module):
    """8 latents to images of 16 px; the class is added to the latent."""

    def __init__(self, *, image: ImageSpec, norm_kind: str = "none", conditional: bool = False) -> None:
        super().__init__()
        self.latent, self.classes = 8, image.classes if conditional else 0
        self.embedding = nn.Embedding(max(self.classes, 1), 8)
        self.layers = nn.Sequential(
            nn.Linear(8, 4 * 8 * 8, bias=norm_kind == "none"),
            nn.Unflatten(1, (4, 8, 8)),
            norm(norm_kind, 4, running=True),
            nn.ELU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(4, image.channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return images."""
        images: Tensor = self.layers(latents + self.embedding(labels.clamp(0, max(self.classes - 1, 0))))
        return images


class Discriminator(nn.Module):
    """Two convolutions and a linear layer, smooth, so that penalties have gradients everywhere."""

    def __init__(
        self,
        *,
        image: ImageSpec,
        norm_kind: str = "none",
        spectral: bool = False,
        minibatch_std: int | None = None,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        self.classes = image.classes if conditional else 0
        wrap = spectral_norm if spectral else (lambda layer: layer)
        self.layers = nn.Sequential(
            wrap(nn.Conv2d(image.channels, 4, 3, stride=2, padding=1)),
            nn.ELU(),
            wrap(nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=norm_kind == "none")),
            norm(norm_kind, 6, running=False),
            nn.ELU(),
            nn.Identity() if minibatch_std is None else MinibatchStd(minibatch_std),
            nn.Flatten(),
        )
        features = (6 + (minibatch_std is not None)) * 16
        self.last = wrap(nn.Linear(features, 1))
        self.embedding = nn.Embedding(max(self.classes, 1), features)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits."""
        features = self.layers(images)
        logits: Tensor = self.last(features)[:, 0] + (
            self.embedding(labels.clamp(0, max(self.classes - 1, 0))) * features
        ).mean(1)
        return logits


class Tied(nn.Module):
    """A discriminator with a weight that stands in two places, and a gain without axes."""

    classes = 0

    def __init__(self, *, image: ImageSpec) -> None:
        super().__init__()
        self.first = nn.Conv2d(image.channels, 3, 3, stride=2, padding=1)
        self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
        self.third.weight = self.second.weight
        self.last = nn.Linear(3 * 8 * 8, 1)
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits."""
        features = images
        for layer in (self.first, self.second, self.third):
            features = nn.functional.elu(layer(features))
        logits: Tensor = self.gain * self.last(features.flatten(1))[:, 0]
        return logits
