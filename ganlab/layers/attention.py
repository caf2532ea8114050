"""Self-attention over the pixels of a map (Zhang et al. 2019, section 3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """y = x + gamma o: each pixel adds a mean of values over the map, weighted by a softmax of products with keys.

    As the authors' code has it, which differs from their text: queries and keys of c / 8 channels, values of c / 2;
    keys and values are pooled to half the size by their maximum; no division by the root of the channels; no biases.
    `gamma` is one number and starts at 0: then the output is the input, and the other weights get no gradient.

    The softmax is written out: torch's fused attention has no second derivative, which penalties need.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query = nn.Conv2d(channels, narrow, 1, bias=False)
        self.key = nn.Conv2d(channels, narrow, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.output = nn.Conv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to the same; h and w are even."""
        queries = self.query(features).flatten(2)  # n c/8 hw
        keys = F.max_pool2d(self.key(features), 2).flatten(2)  # n c/8 hw/4
        values = F.max_pool2d(self.value(features), 2).flatten(2)  # n c/2 hw/4
        weights = torch.softmax(torch.bmm(queries.transpose(1, 2), keys), dim=2)  # n hw hw/4
        means = torch.bmm(values, weights.transpose(1, 2).to(values.dtype))  # n c/2 hw
        total: Tensor = features + self.gamma * self.output(means.unflatten(2, features.shape[2:]))
        return total
