"""Moves recorded as CUDA graphs: launched whole, from memory that stays where it is."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

WARM_UP = 3
"""Moves of each kind that are made before one is recorded: in them cuDNN, the compiler and the optimizer settle."""


class Recorded:
    """The arithmetic of a move, with a graph for each player, batch size and set of due penalties.

    Args:
        run: `run(name, n, due, *inputs)`, arithmetic on the device alone. What it returns of a recorded move is
            overwritten by the next one.
    """

    def __init__(self, run: Callable[..., Any]) -> None:
        self.run, self.stream = run, torch.cuda.Stream()
        self.made: Counter[Any] = Counter()
        self.graphs: dict[Any, tuple[torch.cuda.CUDAGraph, list[Tensor], Any]] = {}

    def __call__(self, name: str, n: int, due: Mapping[str, Any], *inputs: Any) -> Any:
        """Make the move."""
        key = name, n, tuple(due)
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.made[key] += 1
            if self.made[key] <= WARM_UP:
                found = self.run(name, n, due, *inputs)
            else:
                if key not in self.graphs:
                    self.graphs[key] = self._record(name, n, due, *inputs)
                graph, places, found = self.graphs[key]
                torch._foreach_copy_(places, tensors_in(inputs))
                graph.replay()
        torch.cuda.current_stream().wait_stream(self.stream)
        return found

    def _record(
        self, name: str, n: int, due: Mapping[str, Any], *inputs: Any
    ) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Any]:
        places = apply_to_collection(inputs, Tensor, torch.clone, allow_frozen=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            found = self.run(name, n, due, *places)
        return graph, tensors_in(places), found


def tensors_in(values: Any) -> list[Tensor]:
    """List the tensors of nested collections, in order."""
    found: list[Tensor] = []
    apply_to_collection(values, Tensor, found.append, allow_frozen=True)
    return found
