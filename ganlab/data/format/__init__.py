"""The format of shards: tars, their index, and encoded images."""
