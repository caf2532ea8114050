"""What evaluation costs: features per second, the Fréchet distance, and memory, beside torch-fidelity and SciPy.

- `features`: a folder of PNGs through the same extractor, by ganlab and by torch-fidelity, in turns: images/s, ratio.
- `distance`: the Fréchet distance of given moments, by ganlab, SciPy's sqrtm and torchmetrics: seconds.
- `memory`: the peak of a process that takes the moments of features of 2,048 dimensions, few images and many.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import MappingProxyType

import click
import numpy as np
import torch
import torch_fidelity
from PIL import Image
from scipy.linalg import sqrtm
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.utils import create_feature_extractor, extract_featuresdict_from_input_id
from torchmetrics.image.fid import _compute_fid

from ganlab.evaluation.images import ImageSet, open_images
from ganlab.evaluation.side import Side
from ganlab.metrics.features import Extractor, TorchScriptFeatures
from ganlab.metrics.frechet import frechet_distance
from ganlab.metrics.moments import Moments

CPU = torch.device("cpu")


class Theirs(FeatureExtractorBase):
    """Our extractor's network in torch-fidelity's slot: it takes the whole batch of 64."""

    ours: Extractor

    def __init__(self, name, features_list, **_):
        super().__init__(name, features_list)
        self.network = Theirs.ours

    @staticmethod
    def get_provided_features_list():
        return ("features",)

    def forward(self, images):
        features, _ = self.network.outputs(images)
        return (features,)


class Noise(ImageSet):
    """Random images, made as they are asked for."""

    name, fingerprint, classes, origin = "noise", "noise", 0, MappingProxyType({})

    def __init__(self, n: int) -> None:
        self.n = self.total = n

    def __len__(self) -> int:
        return self.n

    def block(self, start: int) -> tuple[Tensor, Tensor]:
        n = min(64, self.n - start)
        return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8), torch.full((n,), -1)


class Projection(Extractor):
    """2,048 random projections."""

    def __init__(self) -> None:
        super().__init__("projection", "0" * 64)
        self.matrix = torch.randn(3 * 32 * 32, 2048)

    def outputs(self, images: Tensor) -> tuple[Tensor, None]:
        return images.float().flatten(1) @ self.matrix, None


def features(folder: Path, images: int, extractor: Extractor) -> None:
    draw = np.random.default_rng(0)
    for number in range(images):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number:06d}.png")
    Theirs.ours = extractor
    torch_fidelity.register_feature_extractor("ours", Theirs)
    seconds: dict[str, list[float]] = {"ganlab": [], "torch-fidelity": []}
    for number in range(3):
        os.environ["GANLAB_CACHE"] = str(folder.parent / f"cache-{number}")
        start = time.perf_counter()
        Side(open_images(str(folder)), extractor, CPU, 0).prepare(frozenset({"features"}))
        middle = time.perf_counter()
        theirs = create_feature_extractor("ours", ["features"], cuda=False, verbose=False)
        extract_featuresdict_from_input_id(1, theirs, input1=str(folder), cuda=False, batch_size=64, verbose=False)
        seconds["ganlab"].append(middle - start)
        seconds["torch-fidelity"].append(time.perf_counter() - middle)
    rates = {name: images / statistics.median(found) for name, found in seconds.items()}
    print("features: " + ", ".join(f"{name} {rate:.1f} images/s" for name, rate in rates.items()), end="; ")
    print(f"ganlab / torch-fidelity {rates['ganlab'] / rates['torch-fidelity']:.2f}", flush=True)


def distance(dims: int) -> None:
    a, b = (Moments.of(torch.randn(2 * dims, dims) @ torch.randn(dims, dims) / dims**0.5) for _ in range(2))
    given = a.mean, a.covariance, b.mean, b.covariance

    def by_scipy() -> float:
        root = sqrtm((a.covariance @ b.covariance).numpy())
        return float((a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace() - 2 * root.trace().real)

    for name, compute in {
        "ganlab": lambda: frechet_distance(a, b),
        "scipy": by_scipy,
        "torchmetrics": lambda: float(_compute_fid(*given)),
    }.items():
        start = time.perf_counter()
        value = compute()
        print(f"distance, {dims} dimensions: {name} {time.perf_counter() - start:.2f} s, {value:.9g}", flush=True)


def memory(images: int) -> None:
    """Print the peak of this process after the moments of so many images."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["GANLAB_CACHE"] = cache
        Side(Noise(images), Projection(), CPU, 0).prepare(frozenset({"moments"}))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory: {images:,} images of 2,048 features: peak {peak:,.0f} MiB", flush=True)


@click.command()
@click.option("--images", default=1_000, show_default=True, help="Of the feature pass.")
@click.option("--dims", default=2_048, show_default=True, help="Of the Fréchet distance.")
@click.option("--many", default=50_000, show_default=True, help="Images of the larger memory figure.")
@click.option("--extractor", default="../shared/weights/mobilenet_v2_features.pt", show_default=True)
@click.option("--memory-of", type=int, hidden=True)
def main(images: int, dims: int, many: int, extractor: str, memory_of: int | None) -> None:
    if memory_of is not None:
        memory(memory_of)
        return
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "pictures").mkdir()
        features(Path(temporary) / "pictures", images, TorchScriptFeatures(path=extractor))
    distance(dims)
    for count in (many // 10, many):
        subprocess.run([sys.executable, __file__, f"--memory-of={count}"], check=True)


if __name__ == "__main__":
    main()
