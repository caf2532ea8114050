"""Numbers that augmentations take to the images' device."""

from collections.abc import Sequence

import torch
from torch import Tensor


def constants(values: Sequence[float], like: Tensor) -> Tensor:
    """Return numbers with the dtype of `like`, filled in on its device: a CUDA graph cannot copy them from the host."""
    return torch.stack([like.new_full((), value) for value in values])
