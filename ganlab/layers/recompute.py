"""Activation checkpointing of blocks: less memory for more time.

(Chen et al. 2016, "Training deep nets with sublinear memory cost".)
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ganlab.layers.batchnorm import Standardization
from ganlab.types import UserError

_keeping = False


def recompute_blocks(name: str, network: nn.Module) -> None:
    """Recompute each of a network's `blocks` in the backward pass."""
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, nn.Module):
        raise UserError(
            f"train.checkpoint_blocks: true, but the {name} has no blocks to recompute; write "
            "train.checkpoint_blocks=false, and a train.micro_batch for less memory"
        )
    for block in blocks.children():
        block.forward = partial(recomputed, block, block.forward)


def recomputed(block: nn.Module, forward: Any, *inputs: Any) -> Any:
    """Run a block, saving only its inputs."""
    if _keeping:
        return forward(*inputs)
    # The compiler itself keeps buffers from being updated twice.
    contexts: dict[str, Any] = {} if torch.compiler.is_compiling() else {"context_fn": partial(passes, block)}
    return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False, **contexts)


def passes(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts of the first pass and of the second, which must not update running statistics again."""
    return nullcontext(), still(block)


@contextmanager
def still(block: nn.Module) -> Iterator[None]:
    """Keep running statistics unchanged."""
    norms = [layer for layer in block.modules() if isinstance(layer, Standardization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextmanager
def keeping() -> Iterator[None]:
    """Turn recomputation off: torch does not support it inside `torch.func.grad`, which penalties use."""
    global _keeping
    before, _keeping = _keeping, True
    try:
        yield
    finally:
        _keeping = before
