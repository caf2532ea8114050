"""Files of trained weights."""

import torch
from safetensors.torch import load_file
from torch import Tensor

from ganlab.types import UserError


def read_weights(path: str) -> dict[str, Tensor]:
    """Read a state dict of safetensors or PyTorch: only tensors, nothing that could run code."""
    try:
        weights: dict[str, Tensor] = (
            load_file(path)
            if path.endswith(".safetensors")
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # the unpickler that refuses programs trips over other files in many ways
        raise UserError(f"{path}: not a file of weights: {str(error).splitlines()[0]}") from None
    return weights


def not_weights_of(name: str, path: str, error: Exception) -> UserError:
    """Return the error for weights of another network."""
    return UserError(f"{path}: not weights of {name}: {' '.join(str(error).split())[:300]}")
