"""Extractors small enough for tests, as TorchScript files."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


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


class RandomInception(FeatureExtractorInceptionV3):
    """Keeps its random weights."""

    def load_state_dict(self, *_: object, **__: object) -> None:
        pass


def random_inception(folder: Path) -> Path:
    """Write random weights for torch-fidelity's Inception, with part of their sha256 in the name as in its own."""
    path = folder / "weights.pth"
    torch.save({}, path)
    torch.manual_seed(0)
    torch.save(RandomInception("inception", ["2048"], feature_extractor_weights_path=str(path)).state_dict(), path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return path.rename(path.with_name(f"inception-{sha256[:8]}.pth"))
