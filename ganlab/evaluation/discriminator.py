"""A discriminator as an extractor, to measure what it has learned about the classes."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ganlab.evaluation.images import BLOCK, hash_of_weights
from ganlab.metrics.features import Extractor
from ganlab.types import Pixels, UserError

if TYPE_CHECKING:
    from ganlab.engine.game import Game

GRID = 4


class DiscriminatorFeatures(Extractor):
    """The maps of all convolutions, each max-pooled to 4x4 (Radford et al. 2016, section 5.1).

    A conditional discriminator gets class 0 for every image.
    """

    piece = BLOCK  # batch norm couples the images of a block

    def __init__(self, model: "Game") -> None:
        network = model.networks["discriminator"]
        sha256 = hash_of_weights(network)
        super().__init__("discriminator", sha256, input_range="-1..1", layers="maxima of convolutions, 4x4")
        self.network, self.image, self.dtype = network, model.image, model.real_dtype

    def outputs(self, images: Pixels) -> tuple[Tensor, Tensor | None]:
        """See `Extractor`."""
        if images.shape[2:] != (self.image.height, self.image.width):
            raise UserError(f"probe: images of {images.shape[2]}x{images.shape[3]} px; it takes {self.image}")
        real = images[:, : self.image.channels].to(self.dtype).div(127.5).sub(1.0)
        maps: list[Tensor] = []
        layers = [layer for layer in self.network.modules() if getattr(getattr(layer, "weight", None), "ndim", 0) == 4]
        hooks = [layer.register_forward_hook(lambda layer, inputs, output: maps.append(output)) for layer in layers]
        try:
            self.network(real, torch.zeros(len(images), dtype=torch.int64, device=images.device))
        finally:
            for hook in hooks:
                hook.remove()
        return torch.cat([F.adaptive_max_pool2d(found, GRID).flatten(1) for found in maps], 1), None
