"""The verb `train --seeds`: a run for each seed, one after the other, and a table of what they ended with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ganlab.callbacks import NotFiniteError
from ganlab.commands.train import announce, train
from ganlab.evaluation.results import read
from ganlab.experiment.frame import Config
from ganlab.experiment.records import read_lines

QUANTILES = {"lowest": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "highest": 1.0}
"""Columns of the table."""


def train_seeds(config: Config, seeds: Sequence[int], allow_change: Sequence[str] = ()) -> int:
    """Train each seed in a folder of its own in the run's folder, or resume it; return the exit code.

    A seed whose gradients are not finite counts as failed, and the others go on; a signal ends all.
    """
    runs, failed = {seed: Path(config.run) / f"seed-{seed:02d}" for seed in seeds}, list[int]()
    for seed, run in runs.items():
        try:
            if code := train(replace(config, seed=seed, run=str(run)), allow_change):
                return code
        except NotFiniteError as error:
            failed.append(seed)
            announce(f"{run}: failed: {error}")
    for line in table([last_values(run) for seed, run in runs.items() if seed not in failed]):
        announce(line)
    if failed:
        announce(f"failed: seeds {', '.join(map(str, failed))}")
    return int(bool(failed))


def last_values(run: Path) -> dict[str, float]:
    """Return the values of a run's last evaluation, or without one the losses of its last tick."""
    if rows := read(run):
        last = max(row["nimg"] or 0 for row in rows)
        return {row["metric"]: row["value"] for row in rows if row["nimg"] == last}
    *_, line = [{}, *read_lines(run / "metrics.jsonl")]
    return {name: value for name, value in line.items() if name.endswith("/loss") and value is not None}


def table(runs: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """Tabulate the quantiles of each value over the runs that have it."""
    names = list(dict.fromkeys(name for run in runs for name in run))
    width = max(map(len, [*names, "over 000 seeds"]))
    yield "".join([f"{f'over {len(runs)} seeds':<{width}}", *(f"{name:>9}" for name in QUANTILES)])
    for name in names:
        found = np.quantile([run[name] for run in runs if name in run], list(QUANTILES.values()))
        yield "".join([f"{name:<{width}}", *(f"{value:>9.3g}" for value in found)])
