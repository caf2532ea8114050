"""Means of what steps record, accumulated on the device and read once a tick."""

import torch
from torch import Tensor

from ganlab import distributed


class Statistics:
    """Sums and counts by name."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def record(self, name: str, values: Tensor) -> None:
        """Add values [n], without a sync."""
        total = values.detach().sum()
        self.sums[name] = self.sums[name] + total if name in self.sums else total
        self.counts[name] = self.counts.get(name, 0) + len(values)

    def read(self) -> dict[str, float]:
        """Return each name's mean since the last call, over all ranks. The one host sync of a tick."""
        names = sorted(self.sums)
        if not names:
            return {}
        means = distributed.average(torch.stack([self.sums[name] / self.counts[name] for name in names])).tolist()
        self.sums, self.counts = {}, {}
        return dict(zip(names, means, strict=True))
