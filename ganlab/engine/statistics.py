"""Means of what steps record, accumulated on the device and read once a tick."""

import math

import torch
from torch import Tensor

from ganlab import distributed

LOGIT = "_logit"
"""Ends the names of what a discriminator says: of these, the spread and the share that it calls real are kept too."""
SQUARE, SPREAD, REAL = "_square", "_spread", "_called_real"


class Statistics:
    """Sums and counts by name."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def record(self, name: str, values: Tensor) -> None:
        """Add values [n], without a sync."""
        values = values.detach()
        self._add(name, values)
        if name.endswith(LOGIT):
            self._add(name + SQUARE, values.square())
            self._add(name.removesuffix(LOGIT) + REAL, (values > 0).to(values.dtype))

    def read(self) -> dict[str, float]:
        """Return each name's mean since the last call, over all ranks. The one host sync of a tick.

        Of logits also the standard deviation, as `..._logit_spread`, and the share above 0, as `..._called_real`.
        """
        names = sorted(self.sums)
        if not names:
            return {}
        means = distributed.average(torch.stack([self.sums[name] / self.counts[name] for name in names])).tolist()
        self.sums, self.counts = {}, {}
        found = dict(zip(names, means, strict=True))
        for name in [name for name in names if name.endswith(LOGIT)]:
            found[name + SPREAD] = math.sqrt(max(found.pop(name + SQUARE) - found[name] ** 2, 0.0))
        return found

    def _add(self, name: str, values: Tensor) -> None:
        total = values.sum()
        self.sums[name] = self.sums[name] + total if name in self.sums else total
        self.counts[name] = self.counts.get(name, 0) + len(values)
