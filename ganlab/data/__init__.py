"""Shards: packed, checked, and read back in an order that is a function of the seed alone."""

from ganlab.data.loader import BatchLoader, Reader
from ganlab.data.module import ShardData
from ganlab.data.order import Order
from ganlab.data.shards import Index

__all__ = ["BatchLoader", "Index", "Order", "Reader", "ShardData"]
