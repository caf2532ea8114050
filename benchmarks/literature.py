"""The literature of the game against closed forms and published values: `python benchmarks/literature.py [NAMES]`."""

from rows import table

if __name__ == "__main__":
    table("closed_forms")()
