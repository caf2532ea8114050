"""The encoder and the critic of codes of alpha-GAN (Rosca et al. 2017); its other two networks are DCGAN's."""

from itertools import pairwise

from torch import nn

from ganlab.layers.batchnorm import BatchNorm
from ganlab.layers.leaky import LeakyReLU
from ganlab.networks.dcgan import initialize, smallest_map, stage_widths
from ganlab.types import Images, ImageSpec, Latents, Logits


class Encoder(nn.Module):
    """Images to codes: the layers of DCGAN's discriminator, with as many outputs as codes have dimensions."""

    def __init__(self, *, image: ImageSpec, width: int = 64, latent: int = 128, norm_group: int | None = None) -> None:
        super().__init__()
        smallest, doublings = smallest_map(image)
        widths = stage_widths(doublings, width)[::-1]
        layers: list[nn.Module] = [
            nn.Conv2d(image.channels, widths[0], 4, stride=2, padding=1, bias=False),
            LeakyReLU(),
        ]
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
                BatchNorm(after, group=norm_group),
                LeakyReLU(),
            ]
        layers += [nn.Conv2d(widths[-1], latent, smallest, bias=False), nn.Flatten()]
        self.layers = nn.Sequential(*layers)
        initialize(self)

    def forward(self, images: Images) -> Latents:
        """[n, c, h, w] to [n, latent]."""
        codes: Latents = self.layers(images)
        return codes


class Critic(nn.Module):
    """Codes to logits: three hidden layers, without batch norm."""

    def __init__(self, *, width: int = 750, latent: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (latent, width, width):
            layers += [nn.Linear(inputs, width), LeakyReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, codes: Latents) -> Logits:
        """[n, latent] to [n]."""
        logits: Logits = self.layers(codes)[:, 0]
        return logits
