"""The memory of a step, for any batch, from one pass on fake tensors: nothing is allocated.

A step is run with a batch of `PRIME` groups. A tensor whose elements are a multiple of that prime belongs to the
samples; the others (weights, and what is made of them) do not depend on the batch. At each moment the memory is then a
linear function of the batch, and the peak is the largest of them.
"""

import math
import weakref
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganlab.engine.game import Game
from ganlab.engine.pool import Pool
from ganlab.experiment.work import examples
from ganlab.types import Phase

PRIME = 1009


@dataclass(frozen=True)
class Memory:
    """What a process needs in training, in bytes, besides what the device's libraries take for themselves.

    A step of an optimizer that cannot mask itself (any but Adam, AdamW and SGD) also holds a copy of what it moves.
    """

    held: int
    """Weights, averages, optimizer states and gradients: between two steps."""
    moments: tuple[tuple[int, float], ...]
    """Bytes at each moment of each player's step, `held` included: a constant, and those of each image."""

    def peak(self, images: int) -> float:
        """Return the most that steps with so many images at a time need."""
        return max(constant + images * each for constant, each in self.moments)

    @property
    def image(self) -> float:
        """Bytes of one more image, of many."""
        return max(each for _, each in self.moments)

    def fits(self, limit: float) -> int:
        """Return the largest number of images at a time within `limit` bytes; 0 if not even the networks fit."""
        if any(constant > limit for constant, _ in self.moments):
            return 0
        return int(min((limit - constant) / each for constant, each in self.moments if each))


class Ledger(TorchDispatchMode):
    """Follows the storages that operators make: bytes that belong to samples, and others, after each operator."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = [0, 0]
        self.moments = list[tuple[int, int]]()
        self.seen = weakref.WeakKeyDictionary[Any, None]((tensor.untyped_storage(), None) for tensor in known)

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, and note what it made."""
        if operator is torch.ops.prim.device.default:  # more frequent than all others, and slow to ask
            return args[0].device
        out = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()) not in self.seen:
                size = storage.nbytes()
                of_samples = size // tensor.element_size() % PRIME == 0
                self.seen[storage] = None
                self.live[of_samples] += size
                weakref.finalize(storage, self.free, of_samples, size)
        self.moments.append((self.live[0], self.live[1]))
        return out

    def free(self, of_samples: bool, size: int) -> None:
        """Take a storage off, once nothing holds it."""
        self.live[of_samples] -= size


def memory_of(model: Game, phase: Phase) -> Memory:
    """Return the memory of a model's steps in a phase, with all their penalties, one player after the other.

    The model is one of `work.without_numbers`; it makes a round.
    """
    n = PRIME * model.runtime.group
    group = math.gcd(*(round(n * player.batch) for player in model.players.values()))
    model.runtime = replace(model.runtime, micro_batch=None, group=group)  # few keys of noise
    weights = [*model.parameters(), *model.buffers()]
    moments = list[tuple[int, float]]()
    for pool in model.modules():
        if isinstance(pool, Pool):
            pool.images = pool.images.new_empty(n, *pool.images.shape[1:])  # it must hold a batch
    with Ledger([*weights, *model.buffers()]) as ledger:
        reals = examples(model, phase, n, model.device)
        for name in model.players:
            start = ledger.live[0]
            ledger.moments.clear()
            found = model.differentiate(name, model.batch(name, reals))
            # In later rounds the other players' gradients and all optimizer states are there too.
            own = sum(weight.grad.nbytes for weight in model.weights(name) if weight.grad is not None)
            moments += [(constant - start - own, of_samples / n) for constant, of_samples in ledger.moments]
            model.update(name, found)
            model.conclude(name, found, reals)
        held = ledger.live[0] + sum(weight.nbytes for weight in weights)
    return Memory(held, tuple({(held + constant, each) for constant, each in moments}))
