"""How far generated images are from real ones: pure functions of their features, each with its citation."""
