"""Extractors: torch-fidelity's and torchvision's own networks, files that are not there, and files that are wrong."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from extractors import Classifier, Maps, Toy, random_inception, script
from safetensors.torch import save_file
from torch import Tensor
from torch_fidelity import feature_extractor_inceptionv3 as inception
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ganlab.metrics.features import Extractor, InceptionV3, TimmFeatures, TorchScriptFeatures, TorchvisionFeatures
from ganlab.types import UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def pixels(n: int = 3, channels: int = 3, size: int = 8) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, channels, size, size), generator=draw, dtype=torch.uint8)


def test_torchscript_by_path(tmp_path: Path) -> None:
    extractor = TorchScriptFeatures(path=str(script(Toy(), tmp_path / "toy.pt")))
    assert re.fullmatch(r"toy\.[0-9a-f]{8}", extractor.name)
    features, logits = extractor(pixels())
    torch.testing.assert_close(features, Toy()(pixels()))
    assert logits is None
    grey, _ = extractor(pixels(channels=1))
    torch.testing.assert_close(grey, Toy()(pixels(channels=1).expand(-1, 3, -1, -1)))


def test_the_usual_inception_file_gives_features_and_logits(tmp_path: Path) -> None:
    features, logits = TorchScriptFeatures(path=str(script(Classifier(), tmp_path / "classifier.pt")))(pixels())
    expected = Toy()(pixels())
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(logits.softmax(1), expected.softmax(1))


def test_a_fingerprint_is_the_file_s(tmp_path: Path) -> None:
    one, same = (TorchScriptFeatures(path=str(script(Toy(), tmp_path / "toy.pt"))) for _ in range(2))
    other = TorchScriptFeatures(path=str(script(Classifier(), tmp_path / "classifier.pt")))
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_inception(tmp_path_factory.mktemp("inception"))


@pytest.mark.slow
def test_inception_is_torch_fidelity_s(inception_file: Path) -> None:
    theirs = FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"], str(inception_file))
    extractor = InceptionV3(path=str(inception_file))
    features, logits = extractor(pixels(2))
    expected_features, expected_logits = theirs(pixels(2))
    assert features.shape == (2, 2048)
    torch.testing.assert_close(features, expected_features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-4, atol=1e-5)
    assert extractor.name == f"inceptionv3.{inception_file.stem[-8:]}"


def test_inception_downloads_only_when_told_to(
    inception_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "URL_INCEPTION_V3", inception_file.as_uri())
    with pytest.raises(UserError, match="no such file; put the weights of inceptionv3 there"):
        InceptionV3(path=str(tmp_path / "here.pth"))
    assert InceptionV3(path=str(tmp_path / "here.pth"), download=True).name.endswith(inception_file.stem[-8:])


def test_torchvision_features_go_into_its_last_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    extractor = TorchvisionFeatures(model="resnet18", path=str(tmp_path / "resnet18.pth"), size=64)
    images = pixels(2, size=80)
    features, logits = extractor(images)
    preset = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    resize = torchvision.transforms.Resize(64, torchvision.transforms.InterpolationMode.BICUBIC, antialias=True)
    expected = theirs(preset(resize(images.float()).clamp(0, 255) / 255))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs.fc(features), logits)
    assert features.shape == (2, 512)


@pytest.mark.slow
def test_pieces_of_any_size_give_the_same_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    extractor = TorchvisionFeatures(model="resnet18", path=str(tmp_path / "resnet18.pth"), size=32)
    found = []
    for piece in (1, 7, 64):
        monkeypatch.setattr(Extractor, "piece", piece)
        found.append(extractor(pixels(64, size=32)))
    for features, logits in found[1:]:
        torch.testing.assert_close(features, found[0][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits, found[0][1], rtol=1e-4, atol=1e-5)


def no_connection(*_: object) -> None:
    raise AssertionError("asked the network")


@pytest.mark.parametrize(("model", "size"), [("test_vit", None), ("test_vit", 96), ("test_resnet", 96)])
def test_timm_s_features_are_pooled_and_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, size: int | None
) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(model, pretrained=False).eval()
    save_file(theirs.state_dict(), tmp_path / "its.safetensors")
    torch.save(theirs.state_dict(), tmp_path / "its.pth")
    monkeypatch.setattr(socket.socket, "connect", no_connection)
    files = tmp_path / "its.safetensors", tmp_path / "its.pth"
    one, other = (TimmFeatures(model=model, path=str(file), size=size) for file in files)
    assert one.fingerprint != other.fingerprint  # the same tensors in another file
    images = pixels(2, size=40)
    features, logits = one(images)
    assert logits is None and torch.equal(features, other(images)[0])
    config = timm.data.resolve_model_data_config(theirs)
    shape = [size or config["input_size"][1]] * 2
    mode = torchvision.transforms.InterpolationMode(config["interpolation"])
    resized = torchvision.transforms.functional.resize(images.float(), shape, mode, antialias=True).clamp(0, 255) / 255
    ready = torchvision.transforms.functional.normalize(resized, config["mean"], config["std"])
    if size and model == "test_vit":
        theirs = timm.create_model(model, pretrained=False, dynamic_img_size=True).eval()
        theirs.load_state_dict(torch.load(tmp_path / "its.pth", weights_only=True))
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(ready), pre_logits=True)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_dinov2_s_own_file_is_read_too(tmp_path: Path) -> None:
    weights = timm.create_model("vit_small_patch14_dinov2", pretrained=False).state_dict()
    torch.save({**weights, "mask_token": torch.zeros(1, 384)}, tmp_path / "dinov2_vits14_pretrain.pth")
    path = str(tmp_path / "dinov2_vits14_pretrain.pth")
    extractor = TimmFeatures(model="vit_small_patch14_dinov2", path=path, size=28)
    assert extractor(pixels(1))[0].shape == (1, 384)
    assert extractor.protocol["resize"] == "bicubic 28 antialias"
    assert extractor.protocol["input_mean"] == [0.485, 0.456, 0.406]


def test_timm_s_mistakes_are_one_clear_error_each(tmp_path: Path) -> None:
    path = str(tmp_path / "its.safetensors")
    assert "put the weights of test_vit there" in refusal(lambda: TimmFeatures(model="test_vit", path=path))
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    assert "not weights of test_vit: " in refusal(lambda: TimmFeatures(model="test_vit", path=path))
    for name in ("hf-hub:timm/test_vit.r160_in1k", "test_vti"):
        assert f"timm has no '{name}'" in refusal(lambda name=name: TimmFeatures(model=name, path=path))
    Path(path).write_text("hello")
    assert "its.safetensors: not a file of weights" in refusal(lambda: TimmFeatures(model="test_vit", path=path))


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        make()
    return str(caught.value)


def test_bad_files_and_bad_images_are_one_clear_error_each(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    text = str(tmp_path / "text.pt")
    assert "no such file; put the weights of absent there" in refusal(lambda: TorchScriptFeatures(path="absent.pt"))
    assert "text.pt: not a TorchScript file" in refusal(lambda: TorchScriptFeatures(path=text))
    assert "text.pt: not a file of weights" in refusal(lambda: InceptionV3(path=text))
    assert "torchvision has no 'resnet'" in refusal(lambda: TorchvisionFeatures(model="resnet", path=text))
    torch.save({"a": torch.zeros(1)}, text)
    assert "not weights of resnet18" in refusal(lambda: TorchvisionFeatures(model="resnet18", path=text))
    torch.save({"a": Toy()}, text)  # pickled code
    assert "not a file of weights" in refusal(lambda: InceptionV3(path=text))
    toy = TorchScriptFeatures(path=str(script(Toy(), tmp_path / "toy.pt")))
    assert "images of 4 channels; extractors take grey or RGB" in refusal(lambda: toy(pixels(channels=4)))
    maps = TorchScriptFeatures(path=str(script(Maps(), tmp_path / "maps.pt")))
    assert "features of shape [3, 3, 8, 8] from 3 images" in refusal(lambda: maps(pixels()))
