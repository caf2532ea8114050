"""A module per idea, each with `rows(seed)`."""
