"""Metrics of generated images: pure functions of their features, each with its citation."""
