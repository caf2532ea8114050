"""Steps as CUDA graphs: each is captured once and then launched as a whole, on fixed memory."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ganlab.engine.batch import Batch

WARM_UP = 3
"""Steps of each kind before one is captured: cuDNN, the compiler and the optimizer allocate and choose in them."""

Found = Mapping[str, Tensor]


class CudaGraphs:
    """The arithmetic of a step, with one CUDA graph per player, batch size and set of due penalties.

    The graphs share one memory pool: they are replayed one after the other, never concurrently.

    Args:
        step: `step(name, batch)`, arithmetic on the device only. The next step overwrites what it returned.
    """

    def __init__(self, step: Callable[[str, Batch], Found]) -> None:
        self.step, self.stream, self.pool = step, torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self.made: Counter[Any] = Counter()
        self.graphs: dict[Any, tuple[torch.cuda.CUDAGraph, Batch, Found]] = {}

    def __call__(self, name: str, batch: Batch) -> Found:
        """Make a step of player `name`."""
        key = name, *(tuple(tensor.shape) for tensor in batch.tensors.values()), tuple(batch.due)
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.made[key] += 1
            if self.made[key] <= WARM_UP:
                found = self.step(name, batch)
            else:
                if key not in self.graphs:
                    self.graphs[key] = self._capture(name, batch)
                graph, place, found = self.graphs[key]
                torch._foreach_copy_(tensors_of(place), tensors_of(batch))
                graph.replay()
        torch.cuda.current_stream().wait_stream(self.stream)
        return found

    def _capture(self, name: str, batch: Batch) -> tuple[torch.cuda.CUDAGraph, Batch, Found]:
        tensors, scalars = ({at: t.clone() for at, t in held.items()} for held in (batch.tensors, batch.scalars))
        place, graph = replace(batch, tensors=tensors, scalars=scalars), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            found = self.step(name, place)
        return graph, place, found


def tensors_of(batch: Batch) -> list[Tensor]:
    """List the tensors of a batch that a step reads."""
    return [*batch.tensors.values(), *batch.scalars.values()]
