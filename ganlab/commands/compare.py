"""The verb `compare`: the results of runs side by side, if they were measured alike."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganlab.evaluation.results import best, error, read
from ganlab.types import UserError


def compare(runs: Sequence[Path]) -> list[str]:
    """Return the lines of a table: the last value of each run, and its best; UserError if no protocol is shared."""
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
    """Return the newest protocol by which all runs were measured; UserError says in what theirs differ."""
    found: dict[Path, list[dict[str, Any]]] = {
        run: [row["protocol"] for row in reversed(rows) if row["metric"] == metric] for run, rows in results.items()
    }
    (first, protocols), *others = found.items()
    for protocol in protocols:
        if all(protocol in theirs for _, theirs in others):
            return protocol
    from ganlab.experiment.config import differences  # with torch, and of use to a refusal alone

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
