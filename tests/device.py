"""The device of the tests and benchmarks that need a GPU; with GANLAB_DRY_GPU=1 it is the CPU, and sizes are tiny.

A dry run goes where a GPU's would. Of the CUDA device it has stand-ins for its graphs, which record operators and make
them again on the same memory, and for its refusals: within a graph, and where a step must not wait, the host may not
read from the device or copy to it. Kernels, TF32, pinned memory and memory statistics are a GPU's own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DRY = os.environ.get("GANLAB_DRY_GPU") == "1"
DEVICE = "cpu" if DRY else "cuda"

aten = torch.ops.aten
WAITING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2}
"""Operators whose results the host waits for."""
COPYING = {aten.lift_fresh}
"""What takes numbers of Python to a tensor: on a GPU a copy from memory that is not pinned."""


class Refusing(TorchDispatchMode):
    """Refuses operators, as CUDA does while a graph is captured."""

    def __init__(self, refused: set[Any]) -> None:
        super().__init__()
        self.refused = refused

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operator.overloadpacket in self.refused:
            raise RuntimeError(f"{operator} is not permitted here: the host waits for the device, or copies to it")
        return operator(*args, **(kwargs or {}))


class Graph:
    """Operators with the tensors that they read and wrote."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, Any, Any, Any]] = []
        self.replayed = False

    @torch.no_grad()
    def replay(self) -> None:
        """Make them again, on the same memory; the first time they have been made already, unlike CUDA's."""
        made, self.replayed = self.made if self.replayed else [], True
        for operator, args, kwargs, found in made:
            for place, value in zip(tree_leaves(found), tree_leaves(operator(*args, **kwargs)), strict=True):
                if isinstance(place, Tensor) and place is not value:
                    place.copy_(value)


class Recording(Refusing):
    """Records into a graph what is run."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(WAITING | COPYING)
        self.graph = graph

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = super().__torch_dispatch__(operator, types, args, kwargs)
        self.graph.made.append((operator, args, kwargs or {}, found))
        return found


class Stream:
    """A CPU has one."""

    def wait_stream(self, other: "Stream") -> None:
        """Work is done by the time that it was asked for."""


STAND_INS: dict[str, Any] = {
    "Stream": Stream,
    "current_stream": Stream,
    "stream": lambda stream: nullcontext(),
    "graph_pool_handle": lambda: None,
    "CUDAGraph": Graph,
    "graph": lambda graph, pool, stream: Recording(graph),
}
"""Of `torch.cuda`, what `ganlab.engine.cuda_graphs` uses."""

if DRY:
    for name, stand_in in STAND_INS.items():
        setattr(torch.cuda, name, stand_in)


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let whatever makes the host wait for the device fail."""
    if DRY:
        with Refusing(WAITING):
            yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def pinned(tensor: Tensor) -> Tensor:
    """Return a tensor whose copy to the device need not be waited for."""
    return tensor if DRY else tensor.pin_memory()
