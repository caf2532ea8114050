"""3x3 convolutions fused with a change of size by 2: exact, with 4/9 of the products.

Nearest upsampling repeats pixels and a mean of 2x2 adds up what only its sum is needed of, so the kernel may be summed
over shifts of 2x2 instead, to 4x4, with a stride of 2 (in the code of Karras et al. 2018, "fused scale").
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Conv3x3(nn.Conv2d):
    """A convolution that keeps the size."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1)


class ConvOfDouble(Conv3x3):
    """The convolution of a map that nearest upsampling has doubled."""

    def forward(self, features: Tensor) -> Tensor:
        """[n, channels_in, h, w] to [n, channels_out, 2h, 2w]."""
        kernel = 4 * F.avg_pool2d(self.weight, 2, stride=1, padding=1)
        return F.conv_transpose2d(features, kernel.flip(2, 3).transpose(0, 1), self.bias, stride=2, padding=1)


class MeanOfConv(Conv3x3):
    """The mean of 2x2 of the convolution."""

    def forward(self, features: Tensor) -> Tensor:
        """[n, channels_in, h, w] to [n, channels_out, h/2, w/2]."""
        return mean_of_conv(features, self.weight, self.bias)


def mean_of_conv(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the mean of 2x2 of the convolution of [n, channels_in, h, w] with a 3x3 weight, padded with zeros."""
    return F.conv2d(features, F.avg_pool2d(weight, 2, stride=1, padding=1), bias, stride=2, padding=1)
