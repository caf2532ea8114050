"""A module per system, each with `rows(seed)`."""
