"""Tables of what was measured beside what a paper or a closed form says."""

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click


class Row(NamedTuple):
    """One figure."""

    system: str
    quantity: str
    ours: float
    target: str
    """The closed form, the published value or the bar, in words."""
    passed: bool


def table(folder: str) -> click.Command:
    """Make the command that prints the rows of the modules in `benchmarks/<folder>`, each with its time.

    A module has `rows(seed: int) -> Iterator[Row]`.
    """
    names = sorted(path.stem for path in (Path(__file__).parent / folder).glob("*.py") if path.stem != "__init__")

    @click.command()
    @click.argument("chosen", nargs=-1, type=click.Choice(names))
    @click.option("--seed", default=0, help="Seed of the runs.")
    def main(chosen: tuple[str, ...], seed: int) -> None:
        """Print a Markdown table; ends with 1 if a figure misses its target."""
        missed = 0
        print("| system | what | ours | target | met |\n|---|---|---|---|---|", flush=True)
        for name in chosen or names:
            rows: Callable[[int], Iterator[Row]] = importlib.import_module(f"{folder}.{name}").rows
            started, spent = time.monotonic(), time.process_time()
            for row in rows(seed):
                missed += not row.passed
                met = "yes" if row.passed else "**no**"
                words = (text.replace("|", "\\|") for text in (row.system, row.quantity, f"{row.ours:.4g}", row.target))
                print(f"| {' | '.join(words)} | {met} |", flush=True)
            took = f"{(time.monotonic() - started) / 60:.1f} minutes, {time.process_time() - spent:.0f} s of CPU"
            print(f"{name}: {took}", file=sys.stderr, flush=True)
        sys.exit(bool(missed))

    return main
