"""The generator of CycleGAN: images to images (Johnson et al. 2016; Zhu et al. 2017, appendix 7.2)."""

from torch import Tensor, nn

from ganlab.types import Images, ImageSpec, UserError


def initialize(network: nn.Module) -> None:
    """Draw the initial weights.

    | layer | weight | bias |
    |---|---|---|
    | convolution, transposed or not | N(0, 0.02) | 0, if any |
    | norm, if it has weights | N(1, 0.02) | 0 |
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.InstanceNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, 0.02)
        if getattr(layer, "bias", None) is not None:
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def normal(convolution: nn.Module, channels: int) -> list[nn.Module]:
    """Return a convolution, instance norm without weights, and ReLU."""
    return [convolution, nn.InstanceNorm2d(channels), nn.ReLU()]


def doubling(before: int, after: int) -> list[nn.Module]:
    """Return a transposed convolution to twice the size, with its norm and ReLU."""
    up = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1, bias=False)
    return normal(up, after)


def mirrored(before: int, after: int, size: int, bias: bool = False) -> nn.Conv2d:
    """Return a convolution that keeps the image's size; its border mirrors the image, since zeros leave artefacts."""
    return nn.Conv2d(before, after, size, padding=size // 2, padding_mode="reflect", bias=bias)


class ResidualBlock(nn.Module):
    """Two convolutions beside an identity, without ReLU after the sum (Gross & Wilber 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *normal(mirrored(channels, channels, 3), channels),
            mirrored(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to the same."""
        total: Tensor = features + self.layers(features)
        return total


class Generator(nn.Module):
    """Images to images of the same shape, in [-1, 1]: two halvings, residual blocks, two doublings.

    The authors' 11,378,179 parameters (9 blocks, RGB) are these and the biases before norms. A norm cancels them: their
    gradients are rounding errors, of which Adam makes whole steps.

    Args:
        image: whose sides are multiples of 4 px, from 8 px.
        width: channels next to the image.
        blocks: residual blocks; 9 in the paper from 256 px, 6 below.
    """

    def __init__(self, *, image: ImageSpec, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        if image.height % 4 or image.width % 4 or min(image.height, image.width) < 8:
            raise UserError(
                f"data.image: these generators halve an image twice, and {image.height}x{image.width} px cannot be: "
                "pack it with a --size of multiples of 4 px, from 8"
            )
        deep = 4 * width
        self.encode = nn.Sequential(
            *normal(mirrored(image.channels, width, 7), width),
            *normal(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False), 2 * width),
            *normal(nn.Conv2d(2 * width, deep, 3, stride=2, padding=1, bias=False), deep),
        )
        self.blocks = nn.Sequential(*(ResidualBlock(deep) for _ in range(blocks)))
        self.decode = nn.Sequential(
            *doubling(deep, 2 * width),
            *doubling(2 * width, width),
            mirrored(width, image.channels, 7, bias=True),
            nn.Tanh(),
        )
        initialize(self)

    def forward(self, images: Images) -> Images:
        """[n, c, h, w] to the same."""
        made: Images = self.decode(self.blocks(self.encode(images)))
        return made
