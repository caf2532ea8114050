"""Quick self-checks, in the tests' own process and in those that they launch."""

import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

import torch

from ganlab.commands import train
from ganlab.engine.game import Game
from ganlab.experiment import limits
from ganlab.experiment.frame import Config
from ganlab.experiment.work import Work

FOLDER = "GANLAB_TESTS_COUNTED"
"""The variable that names the folder of what was counted."""
count_work, measure = train.count_work, limits.measure


def once(config: Config, model: Game) -> dict[int, Work]:
    """Count a model's work, or read what another test, or another process of the same one, has counted."""
    runtime = replace(model.runtime, seed=0, total_nimg=0)
    parts = config.model, model.image, config.train.batch, config.train.checkpoint_blocks, runtime
    what = repr((type(model), parts, os.environ.get("WORLD_SIZE")))
    file = Path(os.environ[FOLDER]) / f"{hashlib.sha256(what.encode()).hexdigest()}.json"
    if not file.exists():
        works = [(nimg, *astuple(work)) for nimg, work in count_work(config, model).items()]
        ours = file.with_suffix(f".{os.getpid()}")  # other ranks write theirs
        ours.write_text(json.dumps(works))
        ours.replace(file)
    return {nimg: Work(*work) for nimg, *work in json.loads(file.read_text())}


@functools.cache
def measured(device: torch.device, precisions: tuple[str, ...], seconds: float) -> limits.Rates:
    """Measure the machine, once in each process."""
    return measure(device, precisions, seconds)


def install() -> None:
    """A tiny run's self-check takes as long as its steps: each model is counted, the machine measured once, briefly."""

    def once_here(device: torch.device, precisions: Sequence[str], seconds: float) -> limits.Rates:
        return measured(device, tuple(precisions), seconds)

    train.count_work, limits.measure = once, once_here
    limits.SECONDS_AT_START["cpu"] = 0.02
