"""The encoder and the critic of codes of alpha-GAN (Rosca et al. 2017); its other two networks are DCGAN's."""

from torch import nn

from ganlab.layers.leaky import LeakyReLU
from ganlab.networks.dcgan import downward, initialize
from ganlab.types import Images, ImageSpec, Latents, Logits


class Encoder(nn.Module):
    """Images to codes: the layers of DCGAN's discriminator, with as many outputs as codes have dimensions."""

    def __init__(self, *, image: ImageSpec, width: int = 64, latent: int = 128, norm_group: int | None = None) -> None:
        super().__init__()
        self.layers = downward(image, outputs=latent, width=width, norm_group=norm_group)
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
