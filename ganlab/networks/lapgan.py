"""The networks of LAPGAN (Denton et al. 2015), as the authors' code has them for CIFAR-10 (their appendix A)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import one_hot

from ganlab.networks.conditioning import classes_of
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError


def initialize(network: nn.Module) -> None:
    """Draw the initial weights, as the authors' Torch 7 did.

    | layer | weight | bias |
    |---|---|---|
    | convolution, linear | uniform within 1 / sqrt(inputs) | the same |
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)  # type: ignore[arg-type]


def dropped(features: Tensor, uniform: Tensor) -> Tensor:
    """Drop half of the features [n, d], where `uniform` [n, d] is not below a half, and double the others."""
    return features * (2.0 * (uniform < 0.5)).to(features.dtype)


class Planes(nn.Module):
    """Classes as one more plane of an image."""

    def __init__(self, image: ImageSpec, classes: int) -> None:
        super().__init__()
        self.classes, self.size = classes, (1, image.height, image.width)
        self.plane = nn.Linear(classes, image.height * image.width) if classes else nn.Identity()

    def forward(self, images: Tensor, labels: Labels) -> Tensor:
        """[n, c, h, w] to [n, c + 1, h, w]; without classes, unchanged."""
        if not self.classes:
            return images
        plane = F.relu(self.plane(one_hot(labels, self.classes).to(images.dtype)))
        return torch.cat([images, plane.unflatten(1, self.size)], 1)


class FirstGenerator(nn.Module):
    """Latents, beside the one-hot class, to the smallest images: two hidden layers."""

    def __init__(self, *, image: ImageSpec, width: int, latent: int, conditional: bool) -> None:
        super().__init__()
        self.latent, self.classes = latent, classes_of(image, conditional)
        self.shape = image.channels, image.height, image.width
        self.layers = nn.Sequential(
            nn.Linear(latent + self.classes, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, image.channels * image.height * image.width),
        )
        initialize(self)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """[n, latent] to [n, c, h, w]."""
        if self.classes:
            latents = torch.cat([latents, one_hot(labels, self.classes).to(latents.dtype)], 1)
        images: Images = self.layers(latents).unflatten(1, self.shape)
        return images


class FirstDiscriminator(nn.Module):
    """The smallest images, beside the one-hot class, to logits: two hidden layers with dropout."""

    def __init__(self, *, image: ImageSpec, width: int, conditional: bool) -> None:
        super().__init__()
        self.classes, self.dropped = classes_of(image, conditional), 2 * width
        self.first = nn.Linear(image.channels * image.height * image.width + self.classes, width)
        self.second, self.last = nn.Linear(width, width), nn.Linear(width, 1)
        initialize(self)

    def forward(self, images: Images, labels: Labels, uniform: Tensor) -> Logits:
        """[n, c, h, w] to [n]; `uniform` [n, dropped] decides what is dropped."""
        features = images.flatten(1)
        if self.classes:
            features = torch.cat([features, one_hot(labels, self.classes).to(features.dtype)], 1)
        first, second = uniform.chunk(2, 1)
        features = dropped(F.relu(self.second(dropped(F.relu(self.first(features)), first))), second)
        logits: Logits = self.last(features)[:, 0]
        return logits


class Generator(nn.Module):
    """Noise, an enlarged image and perhaps a class to the detail that the image lacks."""

    def __init__(self, *, image: ImageSpec, width: int, conditional: bool) -> None:
        super().__init__()
        self.classes, self.shape = classes_of(image, conditional), (1, image.height, image.width)
        self.latent = image.height * image.width
        self.planes = Planes(image, self.classes)
        self.layers = nn.Sequential(
            nn.Conv2d(1 + image.channels + (self.classes > 0), width, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(width, width, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(width, image.channels, 5, padding=2),
        )
        initialize(self)

    def forward(self, latents: Latents, coarse: Images, labels: Labels) -> Images:
        """[n, h * w] and [n, c, h, w] to [n, c, h, w]."""
        noise = latents.unflatten(1, self.shape)
        detail: Images = self.layers(self.planes(torch.cat([noise, coarse], 1), labels))
        return detail


class Discriminator(nn.Module):
    """Images and perhaps a class to logits: two convolutions, and dropout."""

    def __init__(self, *, image: ImageSpec, width: int, conditional: bool) -> None:
        super().__init__()
        self.classes = classes_of(image, conditional)
        self.planes = Planes(image, self.classes)
        self.layers = nn.Sequential(
            nn.Conv2d(image.channels + (self.classes > 0), width, 5),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, stride=2),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.dropped = width * ((image.height - 7) // 2) * ((image.width - 7) // 2)
        self.last = nn.Linear(self.dropped, 1)
        initialize(self)

    def forward(self, images: Images, labels: Labels, uniform: Tensor) -> Logits:
        """[n, c, h, w] to [n]; `uniform` [n, dropped] decides what is dropped."""
        logits: Logits = self.last(dropped(self.layers(self.planes(images, labels)), uniform))[:, 0]
        return logits


def levels_of(image: ImageSpec, smallest: int) -> list[ImageSpec]:
    """Return the shapes of a pyramid's images, the smallest first."""
    times = (image.height // max(smallest, 1)).bit_length() - 1
    if smallest < 5 or times < 1 or smallest << times != image.height or image.width % (1 << times):
        raise UserError(
            f"model.smallest: {smallest}: images of {image.height}x{image.width} px are not it doubled once or more; "
            "write a height of at least 5 px that is"
        )
    return [image.scaled(smallest << level, of=image.height) for level in range(times + 1)]


def networks_of(
    levels: Sequence[ImageSpec], width: int, first_widths: tuple[int, int], latent: int, conditional: bool
) -> dict[str, nn.Module]:
    """Make the networks of all levels, `generator_8`, `discriminator_8`, `generator_16`, ..., the smallest first."""
    first, *others = levels
    of_generator, of_discriminator = first_widths
    networks: dict[str, nn.Module] = {
        f"generator_{first.height}": FirstGenerator(
            image=first, width=of_generator, latent=latent, conditional=conditional
        ),
        f"discriminator_{first.height}": FirstDiscriminator(
            image=first, width=of_discriminator, conditional=conditional
        ),
    }
    for level in others:
        networks[f"generator_{level.height}"] = Generator(image=level, width=width, conditional=conditional)
        networks[f"discriminator_{level.height}"] = Discriminator(image=level, width=width, conditional=conditional)
    return networks
