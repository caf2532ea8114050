"""Feature extractors, the networks behind distances. Nothing is downloaded unless asked for."""

import hashlib
import importlib
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlab.files import sha256_of
from ganlab.types import Features, Pixels, UserError
from ganlab.weights import not_weights_of, read_weights


class Extractor(nn.Module, ABC):
    """Images to features, in evaluation mode and full float32.

    Args:
        name: name of the network.
        sha256: hash of its weights.
        protocol: what else decides the features: resize, range of the input, layer.
    """

    def __init__(self, name: str, sha256: str, **protocol: Any) -> None:
        super().__init__()
        self.protocol = {"extractor": name, "weights_sha256": sha256, **protocol}
        self.name = f"{name}.{sha256[:8]}"

    classifies = False
    """Whether it returns logits."""
    piece = 8
    """Images per pass on a CPU: their maps fit its caches, which makes it several times as fast."""

    @property
    def fingerprint(self) -> str:
        """A hash that changes with everything that decides the features."""
        return hashlib.sha256(json.dumps(self.protocol, sort_keys=True).encode()).hexdigest()

    @abstractmethod
    def outputs(self, images: Pixels) -> tuple[Tensor, Tensor | None]:
        """Return features [n, d] of images [n, 3, h, w] and, of a classifier, logits [n, k]."""

    @torch.no_grad()
    def forward(self, images: Pixels) -> tuple[Features, Tensor | None]:
        """Return features [n, d], and logits [n, k] if it is a classifier, of grey or RGB images."""
        if images.shape[1] not in (1, 3):
            raise UserError(f"{self.name}: images of {images.shape[1]} channels; extractors take grey or RGB ones")
        images, size = images.expand(-1, 3, -1, -1), len(images)
        if images.device.type == "cpu":
            images, size = images.contiguous(memory_format=torch.channels_last), self.piece
        with full_float32():
            features, logits = zip(*(self._piece(piece) for piece in images.split(size)), strict=True)
        return torch.cat(features), torch.cat(logits) if self.classifies else None

    def _piece(self, images: Pixels) -> tuple[Features, Tensor | None]:
        features, logits = self.outputs(images)
        if features.ndim != 2 or len(features) != len(images):
            raise UserError(
                f"{self.name}: features of shape {list(features.shape)} from {len(images)} images; "
                f"an extractor returns [n, d], here [{len(images)}, d]"
            )
        return features.float(), None if logits is None else logits.float()


class TorchScriptFeatures(Extractor):
    """A TorchScript file that takes bytes [n, 3, h, w], resizes them itself and returns features [n, d].

    The usual Inception file, whose forward has the switches `return_features` and `no_output_bias`, gives its logits
    too. A TorchScript file is a program: name only what you trust.

    Args:
        path: path of the file.
    """

    def __init__(self, *, path: str) -> None:
        super().__init__(Path(path).stem, hash_of(path, Path(path).stem), resize="its own", input_range="0..255")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the files that everybody has are of this format
                self.network = torch.jit.load(path, map_location="cpu").eval()
        except RuntimeError as error:
            raise UserError(f"{path}: not a TorchScript file: {str(error).splitlines()[0]}") from None
        arguments = {argument.name for argument in self.network.forward.schema.arguments}
        self.classifies = {"return_features", "no_output_bias"} <= arguments

    def outputs(self, images: Pixels) -> tuple[Tensor, Tensor | None]:
        """See `Extractor`."""
        if not self.classifies:
            return self.network(images), None
        return self.network(images, return_features=True), self.network(images, no_output_bias=True).log()


class InceptionV3(Extractor):
    """The Inception-v3 of the published distances, as torch-fidelity holds it (weights-inception-2015-12-05).

    Args:
        path: path of torch-fidelity's weights.
        download: download them from torch-fidelity's source if the file does not exist.
    """

    classifies = True

    def __init__(self, *, path: str, download: bool = False) -> None:
        fidelity = optional("torch_fidelity.feature_extractor_inceptionv3", "torch-fidelity")
        if download and not Path(path).exists():
            url = fidelity.URL_INCEPTION_V3
            torch.hub.download_url_to_file(url, path, hash_prefix=url.rpartition("-")[2].removesuffix(".pth"))
        super().__init__(
            "inceptionv3", hash_of(path, "inceptionv3"), resize="bilinear 299, as TensorFlow 1", input_range="-1..1"
        )
        read_weights(path)  # torch-fidelity would unpickle anything
        layers = ["2048", "logits_unbiased"]
        self.network = fidelity.FeatureExtractorInceptionV3("inception", layers, feature_extractor_weights_path=path)

    def outputs(self, images: Pixels) -> tuple[Tensor, Tensor | None]:
        """See `Extractor`."""
        features, logits = self.network(images)
        return features, logits


class ImageNetNetwork(Extractor):
    """A network on images resized with antialiasing, without a crop, and normalised: usually as ImageNet's are."""

    def __init__(
        self,
        name: str,
        path: str,
        size: int,
        *,
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        deviation: tuple[float, ...] = (0.229, 0.224, 0.225),
        mode: str = "bicubic",
    ) -> None:
        super().__init__(
            name,
            hash_of(path, name),
            resize=f"{mode} {size} antialias",
            input_mean=list(mean),  # as JSON gives it back
            input_deviation=list(deviation),
        )
        self.size, self.mean, self.deviation, self.mode = size, mean, deviation, mode

    def prepared(self, images: Pixels) -> Tensor:
        """Resize, clip and normalise."""
        shape = (self.size, self.size)
        resized = F.interpolate(images.float(), shape, mode=self.mode, antialias=True).clamp(0, 255) / 255
        mean, deviation = (resized.new_tensor(values)[:, None, None] for values in (self.mean, self.deviation))
        return (resized - mean) / deviation


class TorchvisionFeatures(ImageNetNetwork):
    """A classifier of torchvision; features are the inputs of its last linear layer.

    Args:
        model: name in torchvision.models, for example resnet50.
        path: path of its weights.
        size: height and width of its input, px.
    """

    classifies = True

    def __init__(self, *, model: str, path: str, size: int = 224) -> None:
        super().__init__(model, path, size)
        models = optional("torchvision.models", "torchvision")
        if model not in (known := models.list_models()):
            raise UserError(f"evaluation.extractor.model: torchvision has no {model!r}; it has {', '.join(known)}")
        self.network = models.get_model(model, weights=None).eval()
        try:
            self.network.load_state_dict(read_weights(path))
        except RuntimeError as error:
            raise not_weights_of(model, path, error) from None
        *_, last = (layer for layer in self.network.modules() if isinstance(layer, nn.Linear))
        last.register_forward_pre_hook(self._remember)

    def _remember(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        (self.features,) = inputs

    def outputs(self, images: Pixels) -> tuple[Tensor, Tensor | None]:
        """See `Extractor`."""
        logits = self.network(self.prepared(images))
        return self.features, logits


class TimmFeatures(ImageNetNetwork):
    """A network of timm without its head, such as DINOv2 (Oquab et al. 2023), on images normalised as it was trained.

    DINOv2 is vit_small_patch14_dinov2, or base, large or giant in the place of small, or patch14_reg4 with registers.
    Distances are usually taken at size 224 in the features of the large one (Stein et al. 2023).

    Args:
        model: its name in timm.
        path: path of its weights: timm's file, or the authors' if timm can read it (it can for DINOv2).
        size: height and width of its input, px; None is the size that it was trained at.
    """

    def __init__(self, *, model: str, path: str, size: int | None = None) -> None:
        timm = optional("timm", "timm")
        if not timm.is_model(model):  # a name that it does not know could be one to download
            raise UserError(f"evaluation.extractor.model: timm has no {model!r}; timm.list_models() says what it has")
        trained = timm.get_pretrained_cfg(model)
        super().__init__(
            model,
            path,
            size or trained.input_size[-1],
            mean=trained.mean,
            deviation=trained.std,
            mode=trained.interpolation,
        )
        read_weights(path)  # an old timm would unpickle anything
        given = {"file": path, "custom_load": False}
        try:
            self.network = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=given).eval()
        except Exception as error:  # what it does with a wrong file depends on the architecture
            raise not_weights_of(model, path, error) from None
        self.network.reset_classifier(0)
        if hasattr(self.network, "set_input_size"):  # one with places for its patches
            self.network.set_input_size(self.size)

    def outputs(self, images: Pixels) -> tuple[Tensor, Tensor | None]:
        """See `Extractor`."""
        return self.network(self.prepared(images)), None


def hash_of(path: str, name: str) -> str:
    """Return the sha256 of a file of weights; UserError if it is missing."""
    if not Path(path).is_file():
        raise UserError(
            f"{path}: no such file; put the weights of {name} there, or name where they are "
            "(evaluation.extractor.path, or --extractor for a TorchScript file)"
        )
    return sha256_of(Path(path))


def optional(module: str, package: str) -> ModuleType:
    """Import a package that only some extractors need."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"evaluation.extractor: needs {package}; `pip install 'ganlab[extractors]'`") from None


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep GPUs from rounding to TensorFloat-32, which changes the third digit of a distance."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
