"""The networks of the adversarial autoencoder (Makhzani et al. 2016, appendix A): two hidden layers of ReLU each.

On MNIST with 8 dimensions they have 1,794,008, 1,794,784 and 1,011,001 parameters.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganlab.types import Images, ImageSpec, Labels, Latents, Logits


def dense(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Make the layers. Initial weights: N(0, 0.01); biases: 0."""
    layers = nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.zeros_(layer.bias)
    return layers


class Encoder(nn.Module):
    """Images to codes."""

    def __init__(self, *, image: ImageSpec, width: int = 1000, latent: int = 8) -> None:
        super().__init__()
        self.layers = dense(image.channels * image.height * image.width, width, latent)

    def forward(self, images: Images) -> Latents:
        """[n, c, h, w] to [n, latent]."""
        codes: Latents = self.layers(images.flatten(1))
        return codes


class ClassEncoder(Encoder):
    """Images to the scores of classes, and styles: an encoder of both side by side."""

    def __init__(self, *, image: ImageSpec, classes: int, width: int = 1000, latent: int = 10) -> None:
        super().__init__(image=image, width=width, latent=classes + latent)
        self.parts = [classes, latent]

    def forward(self, images: Images) -> tuple[Tensor, Latents]:  # type: ignore[override]
        """[n, c, h, w] to [n, classes] and [n, latent]."""
        scores, styles = super().forward(images).split(self.parts, 1)
        return scores, styles


class Decoder(nn.Module):
    """Codes to images in [-1, 1]."""

    def __init__(self, *, image: ImageSpec, width: int = 1000, latent: int = 8) -> None:
        super().__init__()
        self.latent, self.classes = latent, 0
        self.shape = image.channels, image.height, image.width
        self.layers = dense(latent, width, image.channels * image.height * image.width)

    def forward(self, codes: Latents, labels: Labels | None = None) -> Images:
        """[n, latent] to [n, c, h, w]; labels are ignored."""
        images: Images = torch.tanh(self.layers(codes) / 2).unflatten(1, self.shape)  # the paper's sigmoid, in [-1, 1]
        return images


class ClassDecoder(Decoder):
    """Classes and styles to images in [-1, 1]: the decoder of their concatenation."""

    def __init__(self, *, image: ImageSpec, classes: int, width: int = 1000, latent: int = 10) -> None:
        super().__init__(image=image, width=width, latent=classes + latent)
        self.latent, self.classes = latent, classes

    def forward(self, codes: Latents, labels: Tensor | None = None) -> Images:
        """[n, latent], with classes [n] or their probabilities [n, classes], to [n, c, h, w]."""
        assert labels is not None
        shares = labels if labels.is_floating_point() else one_hot(labels, self.classes).to(codes.dtype)
        return super().forward(torch.cat([shares, codes], 1))


class Critic(nn.Module):
    """Codes to logits."""

    def __init__(self, *, width: int = 1000, latent: int = 8) -> None:
        super().__init__()
        self.layers = dense(latent, width, 1)

    def forward(self, codes: Tensor) -> Logits:
        """[n, latent] to [n]."""
        logits: Logits = self.layers(codes)[:, 0]
        return logits
