"""The networks of VAE/GAN (Larsen et al. 2016, table 1), for sizes that are multiples of 8.

At 64 px and `width=64` they have 18,071,360, 4,693,155 and 10,953,857 parameters.
"""

from itertools import pairwise

from torch import Tensor, nn

from ganlab.layers.batchnorm import BatchNorm
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, UserError

EPS = 1e-6
"""Of batch norm."""


def smallest_map(image: ImageSpec) -> tuple[int, int]:
    """Return height and width of an image halved three times."""
    if image.height % 8 or image.width % 8:
        raise UserError(
            f"data.image: VAE/GAN makes images whose sides are multiples of 8 px, not {image.height}x{image.width}; "
            "pack the data with another --size"
        )
    return image.height // 8, image.width // 8


class FeatureNorm(BatchNorm):
    """Batch norm of features [n, c]."""

    def forward(self, features: Tensor) -> Tensor:
        """[n, c] to the same."""
        return super().forward(features[..., None, None])[..., 0, 0]


class Encoder(nn.Module):
    """Images to mean and log-variance of a normal distribution of codes."""

    def __init__(self, *, image: ImageSpec, width: int = 64, latent: int = 128, norm_group: int | None = None) -> None:
        super().__init__()
        height, breadth = smallest_map(image)
        layers: list[nn.Module] = []
        for before, after in pairwise((image.channels, width, 2 * width, 4 * width)):
            layers += [
                nn.Conv2d(before, after, 5, stride=2, padding=2, bias=False),  # b 4*width h/8 w/8
                BatchNorm(after, group=norm_group, eps=EPS),
                nn.ReLU(),
            ]
        layers += [
            nn.Flatten(),
            nn.Linear(4 * width * height * breadth, 16 * width, bias=False),
            FeatureNorm(16 * width, group=norm_group, eps=EPS),
            nn.ReLU(),
        ]
        self.features = nn.Sequential(*layers)
        self.mean, self.log_variance = nn.Linear(16 * width, latent), nn.Linear(16 * width, latent)

    def forward(self, images: Images) -> tuple[Latents, Latents]:
        """[n, c, h, w] to twice [n, latent]."""
        features = self.features(images)
        return self.mean(features), self.log_variance(features)


class Decoder(nn.Module):
    """Codes to images in [-1, 1]."""

    def __init__(self, *, image: ImageSpec, width: int = 64, latent: int = 128, norm_group: int | None = None) -> None:
        super().__init__()
        self.latent, self.classes = latent, 0
        height, breadth = smallest_map(image)
        smallest = 4 * width * height * breadth
        layers: list[nn.Module] = [
            nn.Linear(latent, smallest, bias=False),
            FeatureNorm(smallest, group=norm_group, eps=EPS),
            nn.ReLU(),
            nn.Unflatten(1, (4 * width, height, breadth)),
        ]
        for before, after in pairwise((4 * width, 4 * width, 2 * width, width // 2)):
            layers += [
                nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=False),
                BatchNorm(after, group=norm_group, eps=EPS),
                nn.ReLU(),
            ]
        layers += [nn.Conv2d(width // 2, image.channels, 5, padding=2), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, codes: Latents, labels: Labels | None = None) -> Images:
        """[n, latent] to [n, c, h, w]; labels are ignored."""
        images: Images = self.layers(codes)
        return images


class Discriminator(nn.Module):
    """Images to logits, and to the features that a reconstruction is compared by.

    These are the outputs of the third strided convolution, before its batch norm.
    """

    def __init__(self, *, image: ImageSpec, width: int = 64, norm_group: int | None = None) -> None:
        super().__init__()
        height, breadth = smallest_map(image)

        def norm(channels: int, kind: type[BatchNorm] = BatchNorm) -> BatchNorm:
            return kind(channels, group=norm_group, running=False, eps=EPS)

        self.features = nn.Sequential(
            nn.Conv2d(image.channels, width // 2, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(width // 2, 2 * width, 5, stride=2, padding=2, bias=False),
            norm(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 5, stride=2, padding=2, bias=False),
            norm(4 * width),
            nn.ReLU(),
            nn.Conv2d(4 * width, 4 * width, 5, stride=2, padding=2, bias=False),  # b 4*width h/8 w/8
        )
        self.verdict = nn.Sequential(
            norm(4 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * width * height * breadth, 8 * width, bias=False),
            norm(8 * width, FeatureNorm),
            nn.ReLU(),
            nn.Linear(8 * width, 1),
        )

    def forward(self, images: Images) -> tuple[Logits, Tensor]:
        """[n, c, h, w] to [n] and [n, features]."""
        features = self.features(images)
        return self.verdict(features)[:, 0], features.flatten(1)
