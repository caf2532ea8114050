"""The same images through torch-fidelity's and torchmetrics' pipelines, with the same extractor: the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from extractors import Classifier, Toy, random_inception, script
from PIL import Image
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torchmetrics.image import FrechetInceptionDistance, KernelInceptionDistance

from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import open_images
from ganlab.metrics.features import Extractor, InceptionV3, TorchScriptFeatures

pytestmark = pytest.mark.usefixtures("one_thread")


class Theirs(FeatureExtractorBase):
    """Our extractor in torch-fidelity's slot."""

    ours: Extractor

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)
        self.network = Theirs.ours

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits"

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features, logits = self.network(images)
        return tuple({"features": features, "logits": logits}[name] for name in self.features_list)


torch_fidelity.register_feature_extractor("ours", Theirs)


def pictures(folder: Path, n: int, seed: int) -> Path:
    """RGB images of 24 px with colours and an edge, so that features spread."""
    folder.mkdir()
    draw = np.random.default_rng(seed)
    for number in range(n):
        pixels = np.empty((24, 24, 3), np.uint8)
        cut = draw.integers(4, 20)
        pixels[:cut], pixels[cut:] = draw.integers(0, 200 + 20 * seed, (2, 3))
        noisy = pixels + draw.normal(0, 10, pixels.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:04d}.png")
    return folder


def ours(a: Path, b: Path, extractor: Extractor) -> dict[str, float]:
    metrics = ["fid", "kid", "is", "prdc"]
    rows = evaluate(open_images(str(a)), open_images(str(b)), metrics, extractor, torch.device("cpu"), about={})
    return {row["metric"]: row["value"] for row in rows}


def theirs(a: Path, b: Path, n: int, **more: object) -> dict[str, float]:
    switches = {"fid": True, "kid": True, "isc": True, "prc": True, "cuda": False, "cache": False, "verbose": False}
    kid = {"kid_subsets": 1, "kid_subset_size": n}  # of all images: the same whatever is drawn
    return torch_fidelity.calculate_metrics(
        input1=str(a), input2=str(b), samples_shuffle=False, save_cpu_ram=True, **switches, **kid, **more
    )


def assert_same(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found["fid"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-5)
    assert found["kid"] == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-5)
    assert found["is"] == pytest.approx(expected["inception_score_mean"], rel=1e-5)
    assert found["precision"] == pytest.approx(expected["precision"], abs=1e-6)
    assert found["recall"] == pytest.approx(expected["recall"], abs=1e-6)


def test_torch_fidelity_with_our_extractor(tmp_path: Path) -> None:
    a, b = (pictures(tmp_path / f"{seed}", 120, seed) for seed in (0, 1))
    Theirs.ours = TorchScriptFeatures(path=str(script(Classifier(), tmp_path / "classifier.pt")))
    layers = {f"feature_layer_{metric}": "features" for metric in ("fid", "kid", "prc")}
    expected = theirs(a, b, 120, feature_extractor="ours", feature_layer_isc="logits", **layers)
    assert_same(ours(a, b, Theirs.ours), expected)


@pytest.mark.slow
def test_torch_fidelity_s_own_inception_with_its_resize(tmp_path: Path) -> None:
    weights = random_inception(tmp_path)
    a, b = (pictures(tmp_path / f"{seed}", 16, seed) for seed in (0, 1))
    expected = theirs(
        a, b, 16, feature_extractor="inception-v3-compat", feature_extractor_weights_path=str(weights), batch_size=16
    )
    assert_same(ours(a, b, InceptionV3(path=str(weights))), expected)


class InSlot(nn.Module):
    """A network in torchmetrics' slot, which asks how many features there are."""

    num_features = 24

    def __init__(self) -> None:
        super().__init__()
        self.toy = Toy()

    def forward(self, images: Tensor) -> Tensor:
        return self.toy(images).double()


def test_torchmetrics_with_our_extractor(tmp_path: Path) -> None:
    a, b = (pictures(tmp_path / f"{seed}", 120, seed) for seed in (0, 1))
    found = ours(a, b, TorchScriptFeatures(path=str(script(Classifier(), tmp_path / "classifier.pt"))))
    fid = FrechetInceptionDistance(feature=InSlot())
    kid = KernelInceptionDistance(feature=InSlot(), subsets=1, subset_size=120)
    for folder, real in ((a, False), (b, True)):
        images = torch.stack(
            [torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in sorted(folder.glob("*.png"))]
        )
        fid.update(images, real=real)
        kid.update(images, real=real)
    assert found["fid"] == pytest.approx(float(fid.compute()), rel=1e-5)
    assert found["kid"] == pytest.approx(float(kid.compute()[0]), rel=1e-5)
