"""Extractors small enough for tests, as TorchScript files."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Toy(nn.Module):
    """Means and deviations of the maps of a fixed random convolution: 24 features."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(12, 3, 5, 5, generator=torch.Generator().manual_seed(0))
        self.register_buffer("weight", weight)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(F.conv2d(images.float() / 255, self.weight))
        deviation, mean = torch.std_mean(maps, dim=(2, 3))
        return torch.cat([mean, deviation], 1)


class Classifier(nn.Module):
    """The calling convention of the usual Inception file: probabilities unless features are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.toy = Toy()

    def forward(self, images: Tensor, return_features: bool = False, no_output_bias: bool = False) -> Tensor:
        features = self.toy(images)
        if return_features:
            return features
        return torch.softmax(features if no_output_bias else features + 1, 1)


class Maps(nn.Module):
    """What no extractor may return: maps."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float()


class NotANumber(nn.Module):
    """A network that has diverged."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3)) * float("nan")


def script(network: nn.Module, path: Path) -> Path:
    """Save a network as TorchScript."""
    torch.jit.script(network).save(str(path))
    return path
