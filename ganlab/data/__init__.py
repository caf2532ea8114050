"""Datasets of shards: packed, checked, and read in an order that is a function of the seed alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganlab.data.read.dataset import ShardDataset
    from ganlab.data.read.loader import BatchLoader
    from ganlab.data.read.module import ShardData

__all__ = ["BatchLoader", "ShardData", "ShardDataset"]

HOMES = {"BatchLoader": "loader", "ShardData": "module", "ShardDataset": "dataset"}
"""Modules of `ganlab.data.read` that define the classes."""


def __getattr__(name: str) -> Any:
    """Import a class on first use: the loader needs torch and `ShardData` Lightning, and most verbs need neither."""
    if name not in HOMES:
        raise AttributeError(f"module 'ganlab.data' has no attribute {name!r}")
    return getattr(import_module(f"ganlab.data.read.{HOMES[name]}"), name)
