"""Spectral norm as a pure forward, with the power iteration as a step of its own.

Torch's parametrization iterates at every access of a weight in training: the result then depends on how often a network
was run, and drifts apart between ranks. Here the vectors change once per step of their player, on every rank alike.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

ITERATIONS_AT_START = 50
"""Fifteen leave a small embedding's sigma, two of whose singular values are close, 7 % short."""
EPS = 1e-12

Layer = TypeVar("Layer", bound=nn.Module)


def in_full(weight: Tensor) -> AbstractContextManager[Any]:
    """Keep autocast away; the meta device, on which networks are only shown, has none."""
    return nullcontext() if weight.is_meta else torch.autocast(weight.device.type, enabled=False)


def as_matrix(weight: Tensor, transposed: bool = False) -> Tensor:
    """See a weight as [out, everything else]: a view of one that is channels-last.

    That of a transposed convolution is [in, out, ...].
    """
    last = weight.movedim(1, -1)
    return last.flatten(0, -2).T if transposed else last.flatten(1)


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value (Miyato et al. 2018, eq. 8), estimated as u' W v.

    The weight is seen as the matrix [out, everything else]; u and v are no parameters, and the gradient does not flow
    through them. Sigma is computed in float32 at least.

    Args:
        weight: [out, in, ...].
        transposed: it is [in, out, ...].
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, transposed: bool = False) -> None:
        super().__init__()
        self.transposed = transposed
        matrix = as_matrix(weight.detach(), transposed)
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0, eps=EPS))
        self.register_buffer("v", F.normalize(torch.randn_like(matrix[0]), dim=0, eps=EPS))
        self.iterate(weight, ITERATIONS_AT_START)

    @torch.no_grad()
    def iterate(self, weight: Tensor, times: int = 1) -> None:
        """Improve u and v."""
        with in_full(weight):
            matrix = as_matrix(weight, self.transposed)
            for _ in range(times):
                self.v.copy_(F.normalize(matrix.T @ self.u, dim=0, eps=EPS))
                self.u.copy_(F.normalize(matrix @ self.v, dim=0, eps=EPS))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with a largest singular value of about 1."""
        with in_full(weight):
            u, v = self.u.clone(), self.v.clone()  # the vectors may change between two forwards of one graph
            return weight / torch.dot(u, as_matrix(weight, self.transposed) @ v)


def spectral_norm(layer: Layer) -> Layer:
    """Give a convolution, linear layer or embedding a spectrally normalised weight."""
    weight: Any = layer.weight
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    parametrize.register_parametrization(layer, "weight", SpectralNorm(weight, transposed))
    return layer


def iterate_power(network: nn.Module) -> None:
    """Make one power iteration of every spectrally normalised weight: once a step of its player, on all ranks."""
    for layer in network.modules():
        if isinstance(layer, parametrize.ParametrizationList) and isinstance(layer[0], SpectralNorm):
            layer[0].iterate(layer.original)
