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


def of_consensus(matrix: Tensor, gamma: float) -> Tensor:
    """Return the Jacobian of xi + gamma J^T xi where xi is 0: J + gamma J^T J (Mescheder et al. 2017, lemma 9)."""
    return matrix + gamma * matrix.T @ matrix
