"""Shards: packed, checked, and read back in an order that is a function of the seed alone."""
