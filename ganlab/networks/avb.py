"""The networks of adversarial variational Bayes (Mescheder et al. 2017), without convolutions."""

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from ganlab.types import Images, ImageSpec, Labels, Latents, Logits

SHARP = 1e-4
"""Added to the variances of codes, by which others are divided."""


def dense(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Make three hidden layers with ELU."""
    layers: list[nn.Module] = []
    for before in (inputs, width, width):
        layers += [nn.Linear(before, width), nn.ELU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def pixels(image: ImageSpec) -> int:
    """Return the numbers of an image."""
    return image.channels * image.height * image.width


class Encoder(nn.Module):
    """Images and noise to codes: a sampler of q(z | x) whose density nobody knows (section 3).

    `noise` is the number of random numbers that it takes for a code.
    """

    def __init__(self, *, image: ImageSpec, width: int = 64, latent: int = 2, noise: int = 64) -> None:
        super().__init__()
        self.noise = noise
        self.layers = dense(pixels(image) + noise, width, latent)

    def forward(self, images: Images, noise: Tensor) -> tuple[Latents, Latents, Latents]:
        """Return codes, and mean and variance of the distribution they are compared with: 0 and 1, the prior's."""
        codes = self.codes(images, noise)
        return codes, torch.zeros_like(codes), torch.ones_like(codes)

    def codes(self, images: Images, noise: Tensor) -> Latents:
        """[n, c, h, w] and [n, noise] to [n, latent]."""
        codes: Latents = self.layers(torch.cat([images.flatten(1), noise], 1))
        return codes


class AdaptiveEncoder(nn.Module):
    """Images and noise to codes whose moments are known, for adaptive contrast (section 3.3 and supplement).

    z = z_0(x) + sum_i a_i(x) v_i(noise_i), whose moments follow from those of the v_i: taken over `group` consecutive
    samples. Each of the `bases` v_i takes `noise / bases` numbers.
    """

    def __init__(
        self, *, image: ImageSpec, width: int = 128, latent: int = 8, noise: int = 512, bases: int = 16, group: int = 4
    ) -> None:
        super().__init__()
        self.noise, self.bases, self.latent, self.group = noise, bases, latent, group
        self.features = dense(pixels(image), width, width)
        self.origin, self.scales = nn.Linear(width, latent), nn.Linear(width, bases * latent)
        layers: list[nn.Module] = []
        for before in (noise, bases * width, bases * width):
            layers += [nn.Conv1d(before, bases * width, 1, groups=bases), nn.ELU()]  # one network for each basis
        self.vectors = nn.Sequential(*layers, nn.Conv1d(bases * width, bases * latent, 1, groups=bases))
        nn.init.normal_(self.origin.weight, 0.0, 1e-5)
        nn.init.zeros_(self.origin.bias)

    def forward(self, images: Images, noise: Tensor) -> tuple[Latents, Latents, Latents]:
        """Return codes, and mean and variance of q(z | x), [n, latent] each."""
        origin, scales, vectors = self.parts(images, noise)
        grouped = vectors.unflatten(0, (-1, self.group))  # groups group bases latent
        variance, mean = torch.var_mean(grouped, 1, correction=0)
        variance, mean = (each.repeat_interleave(self.group, 0) for each in (variance, mean))
        spread = (scales.square() * variance).sum(1) + SHARP
        return origin + (scales * vectors).sum(1), origin + (scales * mean).sum(1), spread

    def codes(self, images: Images, noise: Tensor) -> Latents:
        """[n, c, h, w] and [n, noise] to [n, latent]."""
        origin, scales, vectors = self.parts(images, noise)
        return origin + (scales * vectors).sum(1)

    def parts(self, images: Images, noise: Tensor) -> tuple[Latents, Tensor, Tensor]:
        """Return z_0(x) [n, latent], and a_i(x) and v_i, [n, bases, latent] each."""
        features = elu(self.features(images.flatten(1)))
        scales = elu(self.scales(features) - 5) + 1  # above 0, and small at first
        vectors = self.vectors(noise[..., None])
        origin: Latents = self.origin(features)
        return origin, scales.view(-1, self.bases, self.latent), vectors.view(-1, self.bases, self.latent)


class Decoder(nn.Module):
    """Codes to logits of pixels in [0, 1]."""

    def __init__(self, *, image: ImageSpec, width: int = 64, latent: int = 2) -> None:
        super().__init__()
        self.latent, self.classes = latent, 0
        self.shape = image.channels, image.height, image.width
        self.layers = dense(latent, width, pixels(image))

    def forward(self, codes: Latents, labels: Labels | None = None) -> Images:
        """[n, latent] to [n, c, h, w]; labels are ignored."""
        logits: Images = self.layers(codes).unflatten(1, self.shape)
        return logits


class Critic(nn.Module):
    """Pairs of image and code to logits: a wide layer, and five residual blocks that are 0 at first.

    Half the squared norm of the code is added: -log p(z), near which T is at first (authors' code).
    """

    def __init__(self, *, image: ImageSpec, width: int = 256, latent: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(pixels(image) + latent, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, width)) for _ in range(5)
        )
        self.last = nn.Linear(width, 1)
        for block in self.blocks:
            nn.init.zeros_(block[-1].weight)  # type: ignore[index]
            nn.init.zeros_(block[-1].bias)  # type: ignore[index]

    def forward(self, images: Images, codes: Latents) -> Logits:
        """[n, c, h, w] and [n, latent] to [n]."""
        features = self.first(torch.cat([images.flatten(1), codes], 1))
        for block in self.blocks:
            features = features + block(features)
        logits: Logits = self.last(elu(features))[:, 0]
        return logits + codes.square().sum(1) / 2
