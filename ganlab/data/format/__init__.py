"""What the shards are: tars, their index, and images as bytes."""
