"""Spectral norm with a pure forward pass and a separate power iteration.

Torch's parametrization iterates at every access of a weight in training: the result depends on how often a network is
run, and diverges between ranks. Here the vectors change once per step of their player, equally on every rank.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

ITERATIONS_AT_START = 50
"""With fifteen, sigma of a small embedding with two close singular values is 7 % too small."""
EPS = 1e-12

Layer = TypeVar("Layer", bound=nn.Module)


def in_full(weight: Tensor) -> AbstractContextManager[Any]:
    """Disable autocast; the meta device has none."""
    return nullcontext() if weight.is_meta else torch.autocast(weight.device.type, enabled=False)


def as_matrix(weight: Tensor, transposed: bool = False) -> Tensor:
    """Return a weight as a matrix [out, everything else], a view if it is channels-last.

    The weight of a transposed convolution is [in, out, ...].
    """
    last = weight.movedim(1, -1)
    return last.flatten(0, -2).T if transposed else last.flatten(1)


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value (Miyato et al. 2018, eq. 8), estimated as u' W v.

    The weight is taken as the matrix [out, everything else]; u and v are not parameters, and no gradient flows through
    them. Sigma is computed in at least float32.

    Args:
        weight: [out, in, ...].
        transposed: the weight is [in, out, ...].
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, transposed: bool = False) -> None:
        super().__init__()
        self.transposed = transposed
        matrix = as_matrix(weight.detach(), transposed)
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0, eps=EPS))
        self.register_buffer("v", F.normalize(torch.randn_like(matrix[0]), dim=0, eps=EPS))
        if not weight.is_meta:  # a model that is only shown has no values, and operators without them take seconds
            self.iterate(weight, ITERATIONS_AT_START)

    @torch.no_grad()
    def iterate(self, weight: Tensor, times: int = 1) -> None:
        """Make `times` power iterations of u and v."""
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
    """Make one power iteration of each spectrally normalised weight: once per step of its player, on all ranks."""
    for layer in network.modules():
        if isinstance(layer, parametrize.ParametrizationList) and isinstance(layer[0], SpectralNorm):
            layer[0].iterate(layer.original)
