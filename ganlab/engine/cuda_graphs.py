"""Steps recorded as CUDA graphs: launched whole, from memory that stays where it is."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ganlab.engine.batch import Batch

WARM_UP = 3
"""Steps of each kind that are made before one is recorded: in them cuDNN, the compiler and the optimizer settle."""

Found = Mapping[str, Tensor]


class CudaGraphs:
    """The arithmetic of a step, with a graph for each player, batch size and set of due penalties.

    The graphs share one pool of memory: they are replayed one after the other, never at once.

    Args:
        run: `run(name, batch)`, arithmetic on the device alone. What it returns of a recorded step is overwritten by
            the next one.
    """

    def __init__(self, run: Callable[[str, Batch], Found]) -> None:
        self.run, self.stream, self.pool = run, torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self.made: Counter[Any] = Counter()
        self.graphs: dict[Any, tuple[torch.cuda.CUDAGraph, Batch, Found]] = {}

    def __call__(self, name: str, batch: Batch) -> Found:
        """Make the step."""
        key = name, *(tuple(tensor.shape) for tensor in batch.tensors.values()), tuple(batch.due)
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.made[key] += 1
            if self.made[key] <= WARM_UP:
                found = self.run(name, batch)
            else:
                if key not in self.graphs:
                    self.graphs[key] = self._record(name, batch)
                graph, place, found = self.graphs[key]
                torch._foreach_copy_(tensors_of(place), tensors_of(batch))
                graph.replay()
        torch.cuda.current_stream().wait_stream(self.stream)
        return found

    def _record(self, name: str, batch: Batch) -> tuple[torch.cuda.CUDAGraph, Batch, Found]:
        tensors, scalars = ({at: t.clone() for at, t in held.items()} for held in (batch.tensors, batch.scalars))
        place, graph = replace(batch, tensors=tensors, scalars=scalars), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            found = self.run(name, place)
        return graph, place, found


def tensors_of(batch: Batch) -> list[Tensor]:
    """List what a step reads of its batch."""
    return [*batch.tensors.values(), *batch.scalars.values()]
