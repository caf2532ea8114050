"""Making datasets: sources, packing, foreign shards, repair, checks."""
