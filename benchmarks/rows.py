"""Tables of what was measured beside what a paper or a closed form says, kept in `benchmarks/rows`."""

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

KEPT = Path(__file__).parent / "rows"
"""A file of JSON lines for each module, of its last whole run."""


class Row(NamedTuple):
    """One figure."""

    system: str
    quantity: str
    ours: float
    target: str
    """The closed form, the published value or the bar, in words."""
    passed: bool


def commit() -> str:
    """Name the commit that is checked out; `+` says that files, these rows aside, are not as it has them."""
    git = ["git", "-C", str(KEPT.parents[1])]
    name = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
    changed = subprocess.check_output([*git, "status", "--porcelain", "-uno", "--", ".", ":!benchmarks/rows"])
    return name + "+" * bool(changed)


def keep(name: str, rows: list[Row], **about: object) -> None:
    """Write a module's rows, with what they came from."""
    (KEPT / f"{name}.jsonl").write_text("".join(f"{json.dumps(row._asdict() | about)}\n" for row in rows))


def kept(name: str) -> list[dict[str, Any]]:
    """Read a module's rows; none if it has not been run."""
    path = KEPT / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(folder: str) -> click.Command:
    """Make the command that prints and keeps the rows of the modules in `benchmarks/<folder>`, each with its time.

    A module has `rows(seed: int) -> Iterator[Row]`.
    """
    names = sorted(path.stem for path in (Path(__file__).parent / folder).glob("*.py") if path.stem != "__init__")

    @click.command()
    @click.argument("chosen", nargs=-1, type=click.Choice(names))
    @click.option("--seed", default=0, help="Seed of the runs.")
    def main(chosen: tuple[str, ...], seed: int) -> None:
        """Print a Markdown table; ends with 1 if a figure misses its target."""
        missed, ran = 0, commit()
        print("| system | what | ours | target | met |\n|---|---|---|---|---|", flush=True)
        for name in chosen or names:
            rows: Callable[[int], Iterator[Row]] = importlib.import_module(f"{folder}.{name}").rows
            started, spent, found = time.monotonic(), time.process_time(), list[Row]()
            for row in rows(seed):
                row = row._replace(ours=float(row.ours), passed=bool(row.passed))
                found.append(row)
                missed += not row.passed
                met = "yes" if row.passed else "**no**"
                words = (text.replace("|", "\\|") for text in (row.system, row.quantity, f"{row.ours:.4g}", row.target))
                print(f"| {' | '.join(words)} | {met} |", flush=True)
            minutes = round((time.process_time() - spent) / 60, 1)
            keep(name, found, seed=seed, commit=ran, cpu_minutes=minutes)
            took = f"{(time.monotonic() - started) / 60:.1f} minutes, {time.process_time() - spent:.0f} s of CPU"
            print(f"{name}: {took}", file=sys.stderr, flush=True)
        sys.exit(bool(missed))

    return main
