"""Shards: packed, checked, and read back in an order that is a function of the seed alone."""

from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.loader import BatchLoader

__all__ = ["BatchLoader", "ShardDataset"]
