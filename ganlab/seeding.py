"""Random numbers as pure functions of (seed, name, position): nothing to save, nothing that depends on the world size.

A batch is split into blocks of `group` consecutive samples, each with its own key, so that a rank draws only its own
blocks. (`torch.randn` is not prefix-stable: a rank's share of a larger draw cannot be made without the whole.)
Training, sampling and evaluation use different names and so never share a stream.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganlab.keys import key as key

SAMPLE_BATCH = 64
"""Samples are always made this many at a time, so that image i of a seed is the same whatever is asked for."""


def seed_everything(seed: int) -> None:
    """Seed torch's global generators, which draw the initial weights and nothing else."""
    torch.manual_seed(key(seed, "initial weights"))


@dataclass(frozen=True)
class Noise:
    """The random numbers of samples [start, start + n) of the global batch at `nimg` images of a run.

    `start` and every n must be multiples of `group`. The numbers are drawn on `device`: CPU and CUDA draw different
    ones, two machines with the same kind of device the same.
    """

    seed: int
    nimg: int
    start: int = 0
    group: int = 1
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32

    def normal(self, name: str, *shape: int) -> Tensor:
        """Draw standard normal numbers of `shape`, with samples along the first dimension."""
        return self._draw(name, torch.empty(shape, device=self.device, dtype=self.dtype), Tensor.normal_)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Draw numbers uniform in [0, 1), with samples along the first dimension."""
        return self._draw(name, torch.empty(shape, device=self.device, dtype=self.dtype), Tensor.uniform_)

    def classes(self, name: str, n: int, classes: int) -> Tensor:
        """Draw `n` class labels, uniformly."""
        labels = torch.empty(n, device=self.device, dtype=torch.int64)
        return self._draw(name, labels, lambda block, generator: block.random_(0, classes, generator=generator))

    def _draw(self, name: str, out: Tensor, fill: Callable[..., Tensor]) -> Tensor:
        assert self.start % self.group == 0 and len(out) % self.group == 0, (self.start, len(out), self.group)
        generator = torch.Generator(self.device)
        for number, block in enumerate(out.split(self.group), self.start // self.group):
            generator.manual_seed(key(self.seed, name, self.nimg, number))
            fill(block, generator=generator)
        return out
