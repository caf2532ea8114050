"""Small matrices [n, k, k], one for each sample, in full precision whatever a device does with a matrix product."""

import torch
from torch import Tensor

Rows = list[list[Tensor | int]]


def matrices(rows: Rows, like: Tensor) -> Tensor:
    """Return matrices of numbers and of tensors [n], which is the shape of `like`."""
    return torch.stack([torch.stack([torch.ones_like(like) * value for value in row], 1) for row in rows], 1)


def product(first: Tensor, second: Tensor) -> Tensor:
    """Return `first @ second`: a product on a GPU may round to TF32, which would move pixels."""
    return (first[..., None] * second[:, None]).sum(2)  # n i j k, over j
