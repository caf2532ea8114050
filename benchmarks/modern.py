"""Large modern GANs against what they must show: `python benchmarks/modern.py [NAMES]`."""

from rows import table

if __name__ == "__main__":
    table("large")()
