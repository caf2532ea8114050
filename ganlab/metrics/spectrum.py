"""Eigenvalues of a vector field's Jacobian: whether dynamics are drawn to a point, and how they turn around it.

Weights that follow -xi(w) come to rest where all eigenvalues of xi's Jacobian J have a positive real part; a step of
size h does so if |1 - h lambda| < 1 for all of them (Mescheder et al. 2017, lemma 4).
"""

from collections.abc import Callable

import torch
from torch import Tensor


def jacobian(field: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """Return J [d, d] of a field [d] -> [d] at a point [d], row by row: for small games."""
    at = point.detach().requires_grad_()
    value = field(at)
    rows = [torch.autograd.grad(entry, at, retain_graph=True, materialize_grads=True)[0] for entry in value]
    return torch.stack(rows).detach()


def eigenvalues(matrix: Tensor) -> Tensor:
    """Return the complex eigenvalues [d] of a real matrix [d, d], by real and then by imaginary part."""
    values = torch.linalg.eigvals(matrix.double().cpu())
    order = sorted(values.tolist(), key=lambda value: (value.real, value.imag))
    return torch.tensor(order, dtype=values.dtype)


def consensus(field: Callable[[Tensor], Tensor], gamma: float) -> Callable[[Tensor], Tensor]:
    """Return the field xi + gamma J^T xi (Mescheder et al. 2017, section 4), whose eigenvalues lie further right."""

    def changed(point: Tensor) -> Tensor:
        at = point if point.requires_grad else point.detach().requires_grad_()
        xi = field(at)
        (pull,) = torch.autograd.grad(xi, at, xi, create_graph=True)
        return xi + gamma * pull

    return changed
