"""Latents that a person chooses, saves, walks between and moves: what `sample`, `film` and `explore` share."""
