"""Layers that couple samples do so within groups of consecutive ones: they have an attribute `group`."""

import math

from torch import nn


def group_of(network: nn.Module) -> int:
    """Return the number of consecutive samples that a network runs on independently of others; 1 if none is coupled.

    A batch norm over the batch of all ranks has no group.
    """
    return math.lcm(*(group for layer in network.modules() if isinstance(group := getattr(layer, "group", None), int)))
