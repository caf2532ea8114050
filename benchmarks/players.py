"""Games of several players against what they must show: `python benchmarks/players.py [NAMES]`."""

from rows import table

if __name__ == "__main__":
    table("systems")()
