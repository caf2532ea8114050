"""Batches in stretches: many moves in one step of Lightning's."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ganlab.callbacks import Guard
from ganlab.callbacks.every import EveryImages
from ganlab.models import GANModule


class Stretches:
    """Batches on the device, in stretches that end where a callback has something to do.

    What Lightning does between two of its steps, 0.15 ms of Python, is then done once a stretch.

    Args:
        loader: called when training begins, with the checkpoint loaded.
        module: whose clock says what is due, after every move.
        callbacks: asked after every move. The guard must be the first: its question goes to the other ranks too.
    """

    def __init__(
        self,
        loader: Callable[[], Iterable[Sequence[Tensor]]],
        module: GANModule,
        callbacks: Sequence[Guard | EveryImages],
    ) -> None:
        self.loader, self.module, self.callbacks = loader, module, callbacks

    def __iter__(self) -> Iterator[Iterator[Sequence[Tensor]]]:
        """Yield stretches, for ever."""
        batches = on_device(iter(self.loader()), self.module.device)
        while True:
            yield self._stretch(batches)

    def _stretch(self, batches: Iterator[Sequence[Tensor]]) -> Iterator[Sequence[Tensor]]:
        while True:
            with self.module.stopwatch("data"):
                batch = next(batches)
            yield batch
            if any(callback.due(self.module) for callback in self.callbacks):
                return


def on_device(batches: Iterator[Sequence[Tensor]], device: torch.device) -> Iterator[Sequence[Tensor]]:
    """Copy batches to a GPU on a stream of their own, while it plays those before."""
    if device.type != "cuda":
        yield from batches
        return
    stream, playing = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    for batch in batches:
        with torch.cuda.stream(stream):
            copied = [tensor.to(device, non_blocking=True) for tensor in batch]
        playing.wait_stream(stream)
        for tensor in copied:
            tensor.record_stream(playing)
        yield copied
