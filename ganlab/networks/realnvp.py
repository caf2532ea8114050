"""Real NVP (Dinh et al. 2017): an invertible generator, whose likelihood of an image is exact.

Unlike the paper's, the networks of the couplings have neither weight norm nor batch norm: the density of an image then
depends on no other image.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pixel_shuffle, pixel_unshuffle, relu

from ganlab.types import Images, ImageSpec, Labels, Latents, PerSample, UserError

ALPHA = 0.05
"""Levels are squeezed from [0, 1] to [ALPHA, 1 - ALPHA] before the logit (section 4.1)."""
SMALLEST = 4
"""Pixels of the shorter side of the last scale."""


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        out: Tensor = maps + self.second(relu(self.first(relu(maps))))
        return out


class Coupling(nn.Module):
    """Masked numbers stay, and scale and shift the others: y = b x + (1 - b) (x exp(s(b x)) + t(b x)) (eq. 9).

    s is `gain` tanh(...); the last convolution begins at 0, so that a coupling begins as the identity.

    Args:
        mask: 1 where numbers stay, of shape [channels, height, width] or one that broadcasts to it.
        channels: of what is mapped.
        width: channels of the residual blocks.
        blocks: residual blocks.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        last = nn.Conv2d(width, 2 * channels, 3, padding=1)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), *(Residual(width) for _ in range(blocks)), nn.ReLU(), last
        )
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def terms(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and t [n, c, h, w], 0 where numbers stay."""
        raw, shift = self.layers(maps * self.mask).chunk(2, 1)
        return (1 - self.mask) * self.gain * raw.tanh(), (1 - self.mask) * shift

    def forward(self, maps: Tensor) -> tuple[Tensor, PerSample]:
        """Map towards the latents; return the maps and the log-determinant."""
        scale, shift = self.terms(maps)
        return maps * scale.exp() + shift, scale.sum((1, 2, 3))

    def inverse(self, maps: Tensor) -> Tensor:
        """Map towards the images."""
        scale, shift = self.terms(maps)  # those of the numbers that stay
        return (maps - shift) * (-scale).exp()


def checkerboard(height: int, width: int, number: int) -> Tensor:
    """Return a mask of every second pixel; the next number has the others."""
    return ((torch.arange(height)[:, None] + torch.arange(width) + number) % 2).float()


def by_channel(channels: int, number: int) -> Tensor:
    """Return a mask of the first or of the last half of the channels."""
    return ((torch.arange(channels) < channels // 2) != bool(number % 2)).float()[:, None, None]


class Scale(nn.Module):
    """Three couplings by checkerboard, a squeeze, three by channel; half of the channels leave (section 3.6).

    The others go through the next scale. The last scale, of `SMALLEST` px, is four couplings by checkerboard.
    """

    def __init__(self, channels: int, height: int, width: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.last = min(height, width) == SMALLEST
        self.pixels = nn.ModuleList(
            Coupling(checkerboard(height, width, k), channels, hidden, blocks) for k in range(4 if self.last else 3)
        )
        if not self.last:
            four, half = 4 * channels, (height // 2, width // 2)
            self.channels = nn.ModuleList(Coupling(by_channel(four, k), four, hidden, blocks) for k in range(3))
            self.next = Scale(2 * channels, *half, hidden, blocks)

    def forward(self, maps: Tensor) -> tuple[Latents, PerSample]:
        """Map [n, c, h, w] to latents [n, c h w], and return the log-determinant [n]."""
        total = maps.new_zeros(len(maps))
        for coupling in self.pixels:
            maps, change = coupling(maps)
            total = total + change
        if self.last:
            return maps.flatten(1), total
        maps = pixel_unshuffle(maps, 2)  # n 4c h/2 w/2
        for coupling in self.channels:
            maps, change = coupling(maps)
            total = total + change
        stay, leave = maps.chunk(2, 1)
        latents, change = self.next(stay)
        return torch.cat([latents, leave.flatten(1)], 1), total + change

    def inverse(self, latents: Latents, height: int, width: int) -> Tensor:
        """Map latents [n, c h w] to [n, c, h, w]."""
        if self.last:
            maps: Tensor = latents.unflatten(1, (-1, height, width))
        else:
            inner, leave = latents.chunk(2, 1)
            stay = self.next.inverse(inner, height // 2, width // 2)
            maps = torch.cat([stay, leave.unflatten(1, stay.shape[1:])], 1)
            for coupling in reversed(list(self.channels)):
                maps = coupling.inverse(maps)  # type: ignore[operator]
            maps = pixel_shuffle(maps, 2)
        for coupling in reversed(list(self.pixels)):
            maps = coupling.inverse(maps)  # type: ignore[operator]
        return maps


class Generator(nn.Module):
    """Latents, as many as an image has numbers, to images; and back, with the density.

    `width` and `blocks`: channels and number of the residual blocks of each coupling (64 and 8 for the paper's 32 px).
    Levels lie up to 0.11 beyond [-1, 1], as the squeeze by `ALPHA` has it.
    """

    classes = 0

    def __init__(self, *, image: ImageSpec, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        short = min(image.height, image.width)
        halvings = short.bit_length() - SMALLEST.bit_length()
        if short != SMALLEST << max(halvings, 0) or max(image.height, image.width) % (1 << max(halvings, 0)):
            raise UserError(
                f"data.image: Real NVP halves images down to {SMALLEST} px, so their shorter side is 4, 8, 16, 32, ... "
                f"px and the other a multiple that halves as often, not {image.height}x{image.width}"
            )
        self.size = image.height, image.width
        self.latent = image.channels * image.height * image.width
        self.flow = Scale(image.channels, image.height, image.width, width, blocks)

    def forward(self, latents: Latents, labels: Labels) -> Images:
        """Return one image per latent."""
        level: Tensor = self.flow.inverse(latents, *self.size).sigmoid()
        return (level - ALPHA) / (1 - 2 * ALPHA) * 2 - 1

    def encode(self, images: Images) -> tuple[Latents, PerSample]:
        """Return the latents of images in [-1, 1], and the log-determinant of the map from images to latents."""
        inside = 1 - 2 * ALPHA
        logits = (ALPHA + inside * (images + 1) / 2).logit()
        latents, change = self.flow(logits)
        change = change - (logsigmoid(logits) + logsigmoid(-logits)).sum((1, 2, 3))
        return latents, change + self.latent * math.log(inside / 2)

    def log_prob(self, images: Images) -> PerSample:
        """Return the log-density of images in [-1, 1], in nats."""
        latents, change = self.encode(images)
        return change - (latents.square().sum(1) + self.latent * math.log(2 * math.pi)) / 2
