"""Shards: packed, checked, and read back in an order that is a function of the seed alone."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganlab.data.read.dataset import ShardDataset
    from ganlab.data.read.loader import BatchLoader

__all__ = ["BatchLoader", "ShardDataset"]


def __getattr__(name: str) -> Any:
    """Import a class when it is asked for: the loader needs torch, and most verbs do not need the loader."""
    if name == "BatchLoader":
        from ganlab.data.read.loader import BatchLoader

        return BatchLoader
    if name == "ShardDataset":
        from ganlab.data.read.dataset import ShardDataset

        return ShardDataset
    raise AttributeError(f"module 'ganlab.data' has no attribute {name!r}")
