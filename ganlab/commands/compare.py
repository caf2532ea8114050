"""The verb `compare`: the results of runs side by side, if they have the same protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganlab.evaluation.results import best, error, read
from ganlab.types import UserError


def compare(runs: Sequence[Path]) -> list[str]:
    """Return a table of the last and the best value of each run; UserError if they share no protocol."""
    results = {run: read(run) for run in runs}
    if without := [run for run, rows in results.items() if not rows]:
        raise UserError(f"{without[0]}: has no results; make some with `ganlab evaluate {without[0]}`")
    metrics = [
        metric
        for metric in dict.fromkeys(row["metric"] for row in results[runs[0]])
        if all(any(row["metric"] == metric for row in rows) for rows in results.values())
    ]
    if not metrics:
        raise UserError(f"{', '.join(map(str, runs))}: have no metric in common; run `ganlab evaluate` on all of them")
    lines = []
    for metric in metrics:
        protocol = shared_protocol(metric, results)
        last = {
            run: next(r for r in reversed(rows) if r["metric"] == metric and r["protocol"] == protocol)
            for run, rows in results.items()
        }
        lines.append(next(iter(last.values()))["name"])
        lines += [f"  {value_of(row, results[run])}  {run}" for run, row in last.items()]
    return lines


def shared_protocol(metric: str, results: Mapping[Path, Sequence[Mapping[str, Any]]]) -> Mapping[str, Any]:
    """Return the newest protocol that all runs share; UserError lists the differences if there is none."""
    found: dict[Path, list[dict[str, Any]]] = {
        run: [row["protocol"] for row in reversed(rows) if row["metric"] == metric] for run, rows in results.items()
    }
    (first, protocols), *others = found.items()
    for protocol in protocols:
        if all(protocol in theirs for _, theirs in others):
            return protocol
    from ganlab.experiment.config import differences  # imports torch, needed only here

    run, theirs = next((run, theirs) for run, theirs in others if protocols[0] not in theirs)
    lines = "".join(
        f"\n  {key}: {old!r} and {new!r}"
        for key, (old, new) in differences(dict(protocols[0]), dict(theirs[0])).items()
    )
    raise UserError(
        f"{metric}: {first} and {run} were measured by different protocols, and their values say nothing of each "
        f"other:{lines}\nevaluate both alike"
    )


def value_of(row: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """Return the last value and the best."""
    seen = "" if row["nimg"] is None else f"at {row['nimg']:,}"
    return f"{row['value']:>10.4g} {error(row):<10} {seen:<16} {best(history, row):<28}"
